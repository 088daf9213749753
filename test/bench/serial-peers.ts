import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { start } from './processes.ts'
import type { SerialWay } from './serial-ways.ts'

/** Somebody else who leads TCP connections to serial lines, as his manual says. */
export interface SerialPeer {
  readonly name: string
  readonly program: string
  readonly askVersion: readonly string[]
  readonly telnet: boolean
  open(command: string, lines: readonly string[]): Promise<Omit<SerialWay, 'name' | 'telnet'>>
}

export const socat: SerialPeer = {
  name: 'socat',
  program: 'socat',
  askVersion: ['-V'],
  telnet: false,
  async open(command, lines) {
    await using opening = new AsyncDisposableStack()
    const ports: number[] = []
    const pids: number[] = []
    for (const line of lines) {
      const port = await freePort()
      // Nothing of it is used before somebody connects, so it is not asked whether it accepts: that would be a client.
      const words = [`TCP4-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr`, `OPEN:${line},rawer,b115200`]
      pids.push(opening.use(await start(command, words)).pid)
      ports.push(port)
    }
    const held = opening.move()
    return { ports, pids, [Symbol.asyncDispose]: () => held.disposeAsync() }
  },
}

type Ser2netOptions = Readonly<Record<string, string | number | boolean>>

function ser2net(name: string, accepter: string, options: Ser2netOptions = {}): SerialPeer {
  return {
    name,
    program: 'ser2net',
    askVersion: ['-v'],
    telnet: accepter !== '',
    async open(command, lines) {
      await using opening = new AsyncDisposableStack()
      const directory = await mkdtemp(join(tmpdir(), 'fleetcat-bench-'))
      opening.defer(() => rm(directory, { recursive: true, force: true }))
      const ports: number[] = []
      for (const _ of lines) ports.push(await freePort())
      const said = Object.entries({ 'max-connections': 1, ...options }).map(
        ([key, value]) => `    ${key}: ${value}\n`,
      )
      const connections = lines.map(
        (line, at) => `connection: &line${at}
  accepter: ${accepter}tcp(nodelay),127.0.0.1,${ports[at]}
  connector: serialdev,${line},115200n81,local
  options:
${said.join('')}`,
      )
      const file = join(directory, 'ser2net.yaml')
      await writeFile(file, `%YAML 1.1\n---\n${connections.join('')}`)
      const { pid } = opening.use(await start(command, ['-n', '-d', '-u', '-c', file]))
      const held = opening.move()
      return { ports, pids: [pid], [Symbol.asyncDispose]: () => held.disposeAsync() }
    },
  }
}

const rfc2217 = 'telnet(rfc2217),'
/** By itself it gathers for a millisecond what comes, and takes 64 bytes at a time. */
const tuned = { chardelay: false, 'dev-to-net-bufsize': 16_384, 'net-to-dev-bufsize': 16_384 }

export const ser2nets = [
  ser2net('ser2net', ''),
  ser2net('ser2net, tuned', '', tuned),
  ser2net('ser2net, telnet(rfc2217)', rfc2217),
  ser2net('ser2net, telnet(rfc2217), tuned', rfc2217, tuned),
]
/** For readers of the tables. */
export const ser2netsAre =
  'ser2net by itself gathers for a millisecond what a line says, and takes 64 bytes at a time; tuned it has `chardelay: false` and `dev-to-net-bufsize` and `net-to-dev-bufsize` of 16384.'

/** Several clients have each line. */
export const ser2netShared = ser2net('ser2net, max-connections', '', { ...tuned, 'max-connections': 16 })
