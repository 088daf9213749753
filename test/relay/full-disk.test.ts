import { readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openDatagramSocket } from '#test/resources/datagram-sockets.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'

const kibibyte = 1_024

/** A disk of a quarter of a megabyte, of which `free` bytes are free until `makeRoom` is called. */
async function openDisk(free: number) {
  const scratch = await openScratch()
  const mounted = await run(['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', scratch.path])
  if (mounted.code !== 0) throw new Error(mounted.stderr)
  const filler = join(scratch.path, 'filler')
  await writeFile(filler, Buffer.alloc(256 * kibibyte - free))
  return {
    file: join(scratch.path, 'log'),
    makeRoom: () => rm(filler),
    async [Symbol.asyncDispose]() {
      await run(['umount', scratch.path])
      await scratch[Symbol.asyncDispose]()
    },
  }
}

needing('root', 'mount')(
  'a collector of datagrams outlives a full disk: it counts what it loses, and tears nothing',
  async () => {
    await using disk = await openDisk(32 * kibibyte)
    const listen = 'UDP4-RECV:0,bind=127.0.0.1'
    await using relay = await openTestRelay({ listen, targets: [`OPEN:${disk.file},append,creat`] })
    await using sender = await openDatagramSocket()
    const written = async () => (await readFile(disk.file, 'latin1')).split('\n').slice(0, -1)
    let sent = 0
    const line = () => `${String(++sent).padStart(4, '0')} ${'x'.repeat(994)}`
    const send = () => sender.send(`${line()}\n`, relay.port)

    await send()
    await until('the file is there', async () => (await written()).length === 1)
    while (relay.refused.length < 20) {
      await send()
      await until('it has arrived', async () => (await written()).length + relay.refused.length >= sent - 1)
    }
    expect(
      relay.refused.every(({ cause, source }) => cause === 'disk-full' && source === `OPEN:${disk.file}`),
    ).toBe(true)
    expect(relay.closed).toEqual([])

    await disk.makeRoom()
    await send()
    const last = String(sent).padStart(4, '0')
    await until('it goes on', async () => (await written()).at(-1)?.startsWith(last))
    const lines = await written()
    expect(lines.every(each => /^\d{4} x{994}$/.test(each))).toBe(true)
    expect(lines.length + relay.refused.length).toBe(sent)
  },
)

needing('root', 'mount')(
  'a stream that meets a full disk ends its connection, for a gap would be worse',
  async () => {
    await using disk = await openDisk(32 * kibibyte)
    await using relay = await openTestRelay({ targets: [`OPEN:${disk.file},append,creat`] })
    const client = connect(relay.port, '127.0.0.1').on('error', () => {})
    client.write(Buffer.alloc(512 * kibibyte))
    await until('the connection is over', () => relay.closed.length === 1)
    expect(relay.closed[0]).toMatchObject({ cause: 'failed', error: { code: 'exhausted' } })
    await until('its client knows', () => client.closed)
    expect(relay.refused).toEqual([])
  },
)
