import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { root, startProgram } from '#test/resources/program.ts'
import { isAlive } from '#test/resources/programs.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openClient } from '#test/resources/servers.ts'
import { until } from '#test/resources/until.ts'

const family = `EXEC:${join(root, 'test/relay/programs/family.sh')}`
const hold = join(root, 'test/relay/programs/hold-program.ts')
const revoked = new RelayError('revoked', { what: 'the relay', why: 'the test says so' })
const closed = new RelayError('closed', { what: 'the relay', why: 'the test says so' })

/** The descendants that a family has told of, once it is complete. */
async function told(output: () => string): Promise<number[]> {
  const pids = () => [...output().matchAll(/^(?:bare )?(\d+)\r?$/gm)].map(([, pid]) => Number(pid))
  await until('the family is complete', () => pids().length === 7)
  return pids()
}

/** Resolves with the channel and what its program has said so far. */
async function open(address: string, said?: (words: { line: string }) => void) {
  const programs = { rights: 'confined', ...(said && { said }) } as const
  const channel = await bindAddress(address).dialer!.dial(openContext({ programs }))
  let output = ''
  channel.stream.on('data', chunk => {
    output += chunk
  })
  return { channel, output: () => output, [Symbol.asyncDispose]: () => channel[Symbol.asyncDispose]() }
}

const alive = (pids: readonly number[]) => pids.filter(isAlive)

describe('all that came of a program', () => {
  for (const options of ['', ',pipes', ',pty,ctty']) {
    needing('setsid', 'nohup')(`is gone when its channel is disposed (${options || 'socket'})`, async () => {
      await using program = await open(family + options)
      const pids = await told(program.output)
      expect(alive(pids)).toEqual(pids)
      await program.channel[Symbol.asyncDispose]()
      expect(alive(pids)).toEqual([])
    })
  }

  needing('setsid', 'nohup')('is gone when it is revoked, and nobody was asked to obey', async () => {
    await using program = await open(family)
    const pids = await told(program.output)
    program.channel.abort(revoked)
    await program.channel[Symbol.asyncDispose]()
    expect(alive(pids)).toEqual([])
    expect(program.channel.verdict?.()).toBe(undefined)
  })

  test('may clean up when it is asked to go, and not when it is revoked', async () => {
    const clean = '\\"echo cleaned >&2; exit\\"'
    const address = `SYSTEM:trap ${clean} TERM; echo ready; while \\:; do sleep 0.05; done`
    for (const [reason, heard] of [
      [closed, ['cleaned']],
      [revoked, []],
    ] as const) {
      const lines: string[] = []
      await using program = await open(address, ({ line }) => void lines.push(line))
      await until('it is ready', () => program.output() === 'ready\n')
      program.channel.abort(reason)
      await program.channel[Symbol.asyncDispose]()
      expect(lines.filter(line => line === 'cleaned')).toEqual(heard)
    }
  })

  needing('setsid', 'nohup')('is gone when the relay says that it is aborted', async () => {
    await using relay = await openTestRelay({ targets: [family] })
    await using one = await openClient(relay.port)
    await using two = await openClient(relay.port)
    const pids = await Promise.all(
      [one, two].map(client => {
        let output = ''
        client.on('data', chunk => {
          output += chunk
        })
        client.on('error', () => {})
        return told(() => output)
      }),
    )
    expect(await relay.relay.abort(revoked)).toEqual({ listenersClosed: 1, connectionsCut: 2 })
    expect(alive(pids.flat())).toEqual([])
  })

  needing('setsid', 'nohup')('is gone when its client has gone', async () => {
    await using relay = await openTestRelay({ targets: [family] })
    const client = await openClient(relay.port)
    let output = ''
    client.on('data', chunk => {
      output += chunk
    })
    const pids = await told(() => output)
    client.resetAndDestroy()
    await until('it is closed', () => relay.closed.length === 1)
    expect(alive(pids)).toEqual([])
  })

  needing('setsid', 'nohup')('is gone when this process is killed', async () => {
    await using holder = startProgram([process.execPath, hold, family])
    const pids = await told(holder.output)
    const bare = Number(/^bare (\d+)$/m.exec(holder.output())?.[1])
    holder.kill('SIGKILL')
    // What has emptied its environment is nobody's any more: see the decision about programs.
    await until('the others are gone', () => alive(pids.filter(pid => pid !== bare)).length === 0)
    if (isAlive(bare)) process.kill(bare, 'SIGKILL')
  })

  test('a daemon that lets go of everything does not keep the connection open', async () => {
    await using relay = await openTestRelay({
      targets: ['SYSTEM:setsid -f sleep 1000 >/dev/null 2>&1 <&1; echo done'],
    })
    await using client = await openClient(relay.port)
    client.end()
    await until('it is over', () => relay.closed.length === 1)
    expect(relay.closed).toMatchObject([{ cause: 'eof' }])
  })
})
