import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { certificateIn } from './certificate.ts'
import type { Known } from './peers.ts'

/** Who else carries TCP from host to host encrypted, with a process at each end. All of them with AES-128. */
export const tunnelPeers: readonly Known[] = [
  {
    name: 'ssh -L',
    program: 'ssh',
    askVersion: ['-V'],
    async words(port, server, directory, target) {
      const options = {
        IdentityFile: join(directory, 'client'),
        UserKnownHostsFile: '/dev/null',
        StrictHostKeyChecking: 'no',
        LogLevel: 'ERROR',
        ExitOnForwardFailure: 'yes',
        // Its quickest; by itself it takes ChaCha20.
        Ciphers: 'aes128-gcm@openssh.com',
      }
      const said = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
      const forward = ['-L', `127.0.0.1:${port}:127.0.0.1:${target}`]
      return ['-F', 'none', '-N', ...said, ...forward, '-p', `${server}`, `${userInfo().username}@127.0.0.1`]
    },
    far: {
      program: 'sshd',
      async words(port, _, directory) {
        for (const name of ['host', 'client'])
          execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name)])
        // Its own wish, wherever it is started by hand as root.
        if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true })
        const file = join(directory, 'sshd_config')
        await writeFile(
          file,
          `Port ${port}
ListenAddress 127.0.0.1
HostKey ${directory}/host
AuthorizedKeysFile ${directory}/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
LogLevel ERROR
`,
        )
        return ['-D', '-e', '-f', file]
      },
    },
  },
  {
    name: 'stunnel pair',
    program: 'stunnel4',
    askVersion: ['-version'],
    words: (port, server, directory) => stunnel('near', port, server, directory, 'client = yes'),
    far: {
      program: 'stunnel4',
      async words(port, target, directory) {
        return stunnel('far', port, target, directory, `cert = ${certificateIn(directory)}`)
      },
    },
  },
  {
    name: 'socat OPENSSL pair',
    program: 'socat',
    askVersion: ['-V'],
    async words(port, server) {
      const listen = `TCP4-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,backlog=511`
      return [listen, `OPENSSL:127.0.0.1:${server},verify=0`]
    },
    far: {
      program: 'socat',
      async words(port, target, directory) {
        const cert = certificateIn(directory)
        const listen = `OPENSSL-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,backlog=511,cert=${cert},verify=0`
        return [listen, `TCP4:127.0.0.1:${target}`]
      },
    },
  },
]

async function stunnel(name: string, port: number, to: number, directory: string, more: string) {
  const file = join(directory, `${name}.conf`)
  const service = `[bench]\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${to}\n${more}\n`
  const nagle = 'socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n'
  await writeFile(file, `foreground = yes\npid =\ndebug = err\n${nagle}${service}`)
  return [file]
}
