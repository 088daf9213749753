import { execFileSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { startAgent, tokenFor } from '../agent.ts'
import { launcher, startFleet } from '../fleet.ts'
import { alternate, type Bench, type BenchContext, compared, type Outcome, type Side } from '../harness.ts'
import { freePort } from '../ports.ts'
import { outputOf, start } from '../processes.ts'

const sshd = '/usr/sbin/sshd'
const rounds = 3
const smallFiles = 10_000
const smallBytes = 4_096
const largeBytes = 5_000_000_000
const reference = 'tar over ssh'

/** Nothing of it can be compressed or guessed. */
const noise = randomFillSync(Buffer.allocUnsafe(4 * 1024 * 1024))

async function writeSmall(folder: string): Promise<void> {
  for (let directory = 0; directory < 100; directory++) {
    const path = join(folder, `d${directory}`)
    await mkdir(path, { recursive: true })
    for (let n = 0; n < smallFiles / 100; n++) {
      const from = (directory * 100 + n) * 37
      await writeFile(join(path, `f${n}`), noise.subarray(from, from + smallBytes))
    }
  }
}

async function writeLarge(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await using file = await open(join(folder, 'large'), 'w')
  for (let left = largeBytes; left > 0; left -= noise.length)
    await file.write(noise, 0, Math.min(noise.length, left))
}

/** An sshd of the bench's own, and what its clients have to say to get in. */
async function startSsh(folder: string) {
  for (const name of ['host', 'client'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)])
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true })
  const port = await freePort()
  const settings = [
    `ListenAddress=127.0.0.1:${port}`,
    `HostKey=${folder}/host`,
    `AuthorizedKeysFile=${folder}/client.pub`,
    'PidFile=none',
    'StrictModes=no',
    'UsePAM=no',
    'LogLevel=ERROR',
    'Subsystem=sftp internal-sftp',
  ]
  const program = await start(sshd, ['-D', '-e', '-f', '/dev/null', ...settings.flatMap(s => ['-o', s])])
  const options = [
    `IdentityFile=${folder}/client`,
    'UserKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=no',
    'LogLevel=ERROR',
    // Its quickest; by itself it takes ChaCha20.
    'Ciphers=aes128-gcm@openssh.com',
  ]
  const words = ['-F', 'none', ...options.flatMap(o => ['-o', o])]
  return { program, port, words, host: `${userInfo().username}@127.0.0.1` }
}

async function copies(cx: BenchContext, write: (folder: string) => Promise<void>): Promise<Outcome> {
  await using held = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'fleetcat-bench-copy-'))
  held.defer(() => rm(folder, { recursive: true, force: true }))
  const [source, target] = [join(folder, 'source'), join(folder, 'target')]
  await write(source)
  const fleet = held.use(await startFleet('controller'))
  const token = await tokenFor(fleet, {}, 1)
  const more = ['--permit', `RECEIVE:${target}/**`]
  held.use(await startAgent(fleet, { token, name: 'b', data: join(folder, 'agent'), more }))

  const side = (name: string, command: string, words: readonly string[], env = {}): Side => ({
    name,
    async measure() {
      await rm(target, { recursive: true, force: true })
      await mkdir(target)
      const began = performance.now()
      await outputOf(command, [...words], env)
      return (performance.now() - began) / 1_000
    },
  })
  const sides = [side('fleetcat cp', launcher, ['cp', source, `@b:${target}/copy`], fleet.env)]
  if (existsSync(sshd)) {
    const { program, port, words, host } = await startSsh(folder)
    held.use(program)
    const there = `mkdir ${target}/copy && tar -x -C ${target}/copy`
    const ssh = ['ssh', ...words, '-p', String(port), host].join(' ')
    sides.push(side(reference, 'sh', ['-c', `tar -c -C ${source} . | ${ssh} '${there}'`]))
    sides.push(
      side('scp -r', 'scp', ['-q', '-r', ...words, '-P', String(port), source, `${host}:${target}/copy`]),
    )
  } else cx.missing('sshd')
  const measured = await alternate(sides, rounds, cx.say)
  return {
    columns: ['', 's', 'lowest – highest', `against ${reference}`],
    rows: compared(measured, reference, seconds => seconds.toFixed(1)),
    raw: { unit: 's', measured },
  }
}

const about =
  'From the start of the command to its end, to another process on this machine. `cp` hashes everything at both ends, and has what is larger than 1 MiB on the disk before it names it; the others do neither.'

export const copySmall: Bench = {
  name: 'copy-small',
  title: 'A copy of 10,000 small files',
  about: `4 KiB each, in 100 directories. ${about}`,
  run: cx => copies(cx, writeSmall),
}

export const copyLarge: Bench = {
  name: 'copy-large',
  title: 'A copy of one file of 5 GB',
  about,
  run: cx => copies(cx, writeLarge),
}
