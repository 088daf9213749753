import { writeSync } from 'node:fs'
import { openSqliteStore } from '#controller/store/sqlite.ts'

/**
 * Run as a process of its own, to be killed: writes pairs of keys and an audit row to the store in argv[2], eight
 * transactions at a time, and says the name of each once it is answered.
 */
const [directory, name] = process.argv.slice(2) as [string, string]
const store = await openSqliteStore(directory)
writeSync(1, 'open\n')
let count = 0

async function write(): Promise<never> {
  for (;;) {
    const pair = `${name}-${count++}`
    const value = Buffer.from(pair.repeat(50))
    await store.txn([], [{ put: { key: `left/${pair}`, value } }, { put: { key: `right/${pair}`, value } }], {
      audit: [{ at: Date.now(), bytes: Buffer.from(pair) }],
    })
    writeSync(1, `${pair}\n`)
  }
}

await Promise.all(Array.from({ length: 8 }, write))
