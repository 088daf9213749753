import { expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { memoryPair } from '#relay/endpoints/memory-pair.ts'
import { conformance } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'

conformance('MEMORY', {
  resets: true,
  async open() {
    const [near, far] = memoryPair({ text: 'memory:far' }, { text: 'memory:near' })
    return {
      near,
      far,
      async [Symbol.asyncDispose]() {
        await near[Symbol.asyncDispose]()
        await far[Symbol.asyncDispose]()
      },
    }
  },
  listening: () => ({
    endpoint: bindAddress('MEMORY-LISTEN:conformance,fork'),
    dialer: () => bindAddress('MEMORY:conformance'),
  }),
  unreachable: () => ({ endpoint: bindAddress('MEMORY:nobody'), code: 'refused' }),
})

test('two listeners cannot have one name', async () => {
  const { acceptor } = bindAddress('MEMORY-LISTEN:taken')
  await using _listener = await acceptor!.listen(openContext())
  await expect(acceptor!.listen(openContext())).rejects.toMatchObject({ code: 'address-in-use' })
})

test('a name is letters, digits, dots, dashes and underscores', () => {
  expect(() => bindAddress('MEMORY:a/b')).toThrowError(/1 to 64 letters/)
})
