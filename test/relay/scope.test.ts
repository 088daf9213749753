import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import { openScope } from '#relay/scope.ts'
import { heapInUse } from '#test/resources/memory.ts'

const reason = new RelayError('revoked', { what: 'the test' })

test('an abort reaches children and grandchildren, with its reason', () => {
  const parent = openScope()
  const grandchild = parent.child().child()
  parent.abort(reason)
  expect(grandchild.signal.reason).toBe(reason)
})

test('a child of an aborted scope is aborted from the start', () => {
  const parent = openScope()
  parent.abort(reason)
  expect(parent.child().signal.reason).toBe(reason)
})

test('an abort of a child leaves its parent alone', () => {
  const parent = openScope()
  parent.child().abort(reason)
  expect(parent.signal.aborted).toBe(false)
})

test('the signal of somebody else is followed until disposal, and then forgotten', async () => {
  const controller = new AbortController()
  const scope = openScope(controller.signal)
  const disposed = openScope(controller.signal)
  await disposed[Symbol.asyncDispose]()
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1)
  controller.abort(reason)
  expect(scope.signal.reason).toBe(reason)
  expect(disposed.signal.reason).not.toBe(reason)
})

test('a hundred thousand children leave nothing with their parent', async () => {
  const parent = openScope()
  for (let i = 0; i < 1_000; i++) await parent.child()[Symbol.asyncDispose]()
  const before = heapInUse()
  for (let i = 0; i < 100_000; i++) await parent.child()[Symbol.asyncDispose]()
  expect(heapInUse() - before).toBeLessThan(2 * 1_048_576)
})

test('disposal releases children first, then resources, the latest first, and only once', async () => {
  const order: string[] = []
  const scope = openScope()
  scope.defer(() => void order.push('first'))
  scope.use({ [Symbol.dispose]: () => void order.push('second') })
  scope.child().defer(() => void order.push('older child'))
  scope.child().defer(async () => void order.push('younger child'))
  scope.use({ [Symbol.asyncDispose]: async () => void order.push('third') })
  await Promise.all([scope[Symbol.asyncDispose](), scope[Symbol.asyncDispose]()])
  expect(order).toEqual(['younger child', 'older child', 'third', 'second', 'first'])
})

test('disposal ends what still waits under the scope', async () => {
  const scope = openScope()
  const { signal } = scope.child()
  await scope[Symbol.asyncDispose]()
  expect(signal.reason).toMatchObject({ code: 'closed' })
})
