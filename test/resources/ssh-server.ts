import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { startProgram } from './program.ts'
import { openScratch } from './scratch.ts'

/** An sshd on the loopback with keys of its own, and what tells a client how to log in there. */
export interface SshServer extends AsyncDisposable {
  readonly port: number
  /** For `ssh -F`. It names no host: whoever is called is this server. */
  readonly clientConfig: string
}

/** Needs root, as sshd does where it logs in others. */
export async function startSshServer(): Promise<SshServer> {
  const port = await freePort()
  const held = new AsyncDisposableStack()
  const { path } = held.use(await openScratch())
  const at = (name: string) => join(path, name)
  for (const key of ['host', 'client'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(key)])
  copyFileSync(at('client.pub'), at('authorized'))
  chmodSync(path, 0o700)
  // Where sshd was never started as a service, nobody has made it yet.
  mkdirSync('/run/sshd', { recursive: true })
  const server = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${at('host')}`,
    `AuthorizedKeysFile ${at('authorized')}`,
    `PidFile ${at('sshd.pid')}`,
    'PasswordAuthentication no',
    'StrictModes no',
    'UsePAM no',
  ]
  writeFileSync(at('sshd_config'), `${server.join('\n')}\n`)
  const client = [
    `IdentityFile ${at('client')}`,
    'IdentitiesOnly yes',
    'StrictHostKeyChecking no',
    'UserKnownHostsFile /dev/null',
    'LogLevel ERROR',
  ]
  writeFileSync(at('ssh_config'), `${client.join('\n')}\n`)
  const sshd = held.use(startProgram(['/usr/sbin/sshd', '-D', '-e', '-f', at('sshd_config')]))
  await sshd.says(/Server listening/)
  return { port, clientConfig: at('ssh_config'), [Symbol.asyncDispose]: () => held.disposeAsync() }
}
