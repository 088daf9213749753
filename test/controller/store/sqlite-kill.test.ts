import fc from 'fast-check'
import { expect, it } from 'vitest'
import { openSqliteStore } from '#controller/store/sqlite.ts'
import { checkChain } from '#telemetry/audit/chain.ts'
import { temporaryDirectory } from './temporary-directory.ts'
import { writingProcess } from './writing-process.ts'

it('keeps every answered transaction, and none by half, when its process is killed at any moment', async () => {
  using directory = temporaryDirectory()
  const answered: string[] = []
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.nat(150), async lines => {
      await using writer = writingProcess(directory.path, `round${round++}`)
      await writer.lines(lines)
      answered.push(...(await writer.kill()).filter(line => line !== 'open'))
      await expectWhole(directory.path, answered)
    }),
    { numRuns: 30, endOnFailure: true },
  )
}, 60_000)

async function expectWhole(path: string, answered: readonly string[]): Promise<void> {
  await using store = await openSqliteStore(path)
  const [left, right] = [await revisions('left/'), await revisions('right/')]
  expect(answered.filter(pair => !left.has(pair))).toEqual([])
  expect(right).toEqual(left)

  const rows = await store.audit.read(0n, 1_000_000)
  const chain = checkChain(await store.audit.ends())
  expect(rows.map(row => chain.add(row)).find(Boolean) ?? chain.end()).toBeUndefined()
  expect(rows.map(({ seq }) => seq)).toEqual(rows.map((_, i) => BigInt(i) + 1n))
  expect(rows.map(({ bytes }) => Buffer.from(bytes).toString()).sort()).toEqual([...left.keys()].sort())

  async function revisions(prefix: string): Promise<Map<string, bigint>> {
    const { items } = await store.list(prefix)
    return new Map(items.map(({ key, modRev }) => [key.slice(prefix.length), modRev]))
  }
}
