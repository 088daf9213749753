import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { type Program, startProgram } from './program.ts'
import { openScratch } from './scratch.ts'
import { until } from './until.ts'

/** A proxy of another make, on a port of the loopback. */
export interface ForeignProxy extends AsyncDisposable {
  readonly port: number
  readonly program: Program
}

async function answering(port: number, program: Program, held: AsyncDisposableStack): Promise<ForeignProxy> {
  await until(
    'the proxy answers',
    () =>
      new Promise<boolean>(resolve => {
        const socket = connect(port, '127.0.0.1')
        socket.once('connect', () => resolve(socket.destroy().destroyed)).once('error', () => resolve(false))
      }),
  )
  return { port, program, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** SOCKS5, without or with a password. */
export async function startMicrosocks(...args: string[]): Promise<ForeignProxy> {
  const port = await freePort()
  const held = new AsyncDisposableStack()
  const program = held.use(startProgram(['microsocks', '-i', '127.0.0.1', '-p', String(port), ...args]))
  return await answering(port, program, held)
}

/** SOCKS4 and SOCKS5. `rules` are what it blocks, in its own words. */
export async function startDanted(rules = ''): Promise<ForeignProxy> {
  const port = await freePort()
  const held = new AsyncDisposableStack()
  const { path } = held.use(await openScratch())
  const file = join(path, 'danted.conf')
  writeFileSync(
    file,
    `logoutput: stderr
internal: 127.0.0.1 port = ${port}
external: 127.0.0.1
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: ${userInfo().username}
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
${rules}
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
`,
  )
  const program = held.use(startProgram(['danted', '-f', file, '-p', join(path, 'pid')]))
  return await answering(port, program, held)
}

/** \`ssh -D\`: SOCKS4, SOCKS4a and SOCKS5. The server is its own too, with keys of its own. */
export async function startSshProxy(): Promise<ForeignProxy> {
  const [serverPort, port] = [await freePort(), await freePort()]
  const held = new AsyncDisposableStack()
  const { path } = held.use(await openScratch())
  const at = (name: string) => join(path, name)
  for (const key of ['host', 'client']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(key)])
  }
  execFileSync('cp', [at('client.pub'), at('authorized')])
  chmodSync(path, 0o700)
  // Where sshd was never started as a service, nobody has made it yet.
  mkdirSync('/run/sshd', { recursive: true })
  writeFileSync(
    at('sshd_config'),
    `Port ${serverPort}
ListenAddress 127.0.0.1
HostKey ${at('host')}
AuthorizedKeysFile ${at('authorized')}
PidFile ${at('sshd.pid')}
PasswordAuthentication no
StrictModes no
UsePAM no
`,
  )
  const server = held.use(startProgram(['/usr/sbin/sshd', '-D', '-e', '-f', at('sshd_config')]))
  await server.says(/Server listening/)
  const client = ['ssh', '-N', '-D', `127.0.0.1:${port}`, '-p', String(serverPort), '-i', at('client')]
  const quiet = [
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    `UserKnownHostsFile=${at('known')}`,
    '-F',
    '/dev/null',
  ]
  const program = held.use(startProgram([...client, ...quiet, '127.0.0.1']))
  return await answering(port, program, held)
}
