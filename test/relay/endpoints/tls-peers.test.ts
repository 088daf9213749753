import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { openPki } from '#test/resources/pki.ts'
import { freePort } from '#test/resources/ports.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { openEchoServer, openServer } from '#test/resources/servers.ts'
import { receive } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'

/** Against the programs that people have at the other end. */
const pki = openPki()
afterAll(() => pki[Symbol.dispose]())
const server = pki.issue({ name: 'localhost', alt: 'DNS:localhost,IP:127.0.0.1' })
const client = pki.issue({ name: 'client', alt: 'DNS:client.test' })

async function openRelay(listen: string, target?: string) {
  const echo = await openEchoServer()
  const relay = await openTestRelay({ listen, targets: [target ?? `TCP4:127.0.0.1:${echo.port}`] })
  return {
    relay,
    port: relay.port,
    async [Symbol.asyncDispose]() {
      await relay[Symbol.asyncDispose]()
      await echo[Symbol.asyncDispose]()
    },
  }
}

/** Dials again until the program at the other end listens. */
const patiently = 'retry=200,interval=20ms'
const dial = (text: string): Promise<Channel> =>
  bindAddress(`${text},${patiently}`).dialer!.dial(openContext())

const door = `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${server.both}`
const sClient = (port: number, ...words: string[]) => [
  ...['openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-CAfile', pki.ca, '-verify_return_error'],
  ...words,
]

for (const version of ['-tls1_2', '-tls1_3']) {
  needing('openssl')(`openssl s_client is served, over ${version}`, async () => {
    await using relay = await openRelay(`${door},verify=0`)
    await using program = spawned(sClient(relay.port, version, '-quiet', '-verify_quiet'))
    program.stdin.write('hello from openssl\n')
    await program.says(/^hello from openssl$/m)
  })

  needing('openssl')(
    `openssl s_client with a certificate is known by name and resumes no session, over ${version}`,
    async () => {
      await using relay = await openRelay(`${door},cafile=${pki.ca}`)
      const session = join(pki.folder, `session${version}`)
      const known = ['-cert', client.cert, '-key', client.key, version]
      for (const option of ['-sess_out', '-sess_in']) {
        await using program = spawned(sClient(relay.port, ...known, option, session))
        program.stdin.write('hello\n')
        expect(await program.says(/^hello$/m)).toMatch(/^New, TLS/m)
      }
      expect(relay.relay.opened.map(({ tlsIdentity }) => tlsIdentity)).toEqual(['client.test', 'client.test'])
    },
  )
}

needing('openssl')('openssl s_client without a certificate is told that one is required', async () => {
  await using relay = await openRelay(`${door},cafile=${pki.ca}`)
  const { stderr } = await run(sClient(relay.port, '-tls1_3', '-quiet', '-ign_eof'), { input: 'hello\n' })
  expect(stderr).toMatch(/alert certificate required/)
  expect(relay.relay.opened).toEqual([])
})

needing('openssl')('openssl s_server is dialled, with a client certificate', async () => {
  const port = await freePort()
  await using _server = startProgram([
    ...['openssl', 's_server', '-accept', `127.0.0.1:${port}`, '-cert', server.cert, '-key', server.key],
    ...['-CAfile', pki.ca, '-Verify', '1', '-verify_return_error', '-rev', '-naccept', '2'],
  ])
  const target = `OPENSSL:127.0.0.1:${port},cafile=${pki.ca}`
  await using channel = await dial(`${target},cert=${client.cert},key=${client.key}`)
  channel.stream.write('stressed\n')
  const [answer] = await once(channel.stream, 'data')
  expect(String(answer)).toBe('desserts\n')
})

needing('curl')('curl --cacert is served, and refuses what it does not know', async () => {
  await using http = await openServer(socket => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello')).resume()
  })
  await using web = await openRelay(`${door},verify=0`, `TCP4:127.0.0.1:${http.port}`)
  const url = `https://localhost:${web.port}/`
  const good = await run([
    'curl',
    '-sS',
    '--cacert',
    pki.ca,
    '--resolve',
    `localhost:${web.port}:127.0.0.1`,
    url,
  ])
  expect(good).toMatchObject({ code: 0, stdout: 'hello' })
  const bad = await run(['curl', '-sS', url, '--resolve', `localhost:${web.port}:127.0.0.1`])
  expect(bad.code).toBe(60)
})

for (const version of ['TLS1.2', 'TLS1.3']) {
  needing('socat')(
    `socat's OPENSSL brings a file and takes one back, half-closed, over ${version}`,
    async () => {
      await using relay = await openRelay(`${door},cafile=${pki.ca},max-version=${version}`)
      const file = join(pki.folder, `file-${version}`)
      const bytes = randomBytes(1_000_003)
      writeFileSync(file, bytes)
      const socat = `OPENSSL:127.0.0.1:${relay.port},cafile=${pki.ca},cert=${client.both}`
      const back = await outputOf(['sh', '-c', `exec socat -t 10 - ${socat} < ${file}`])
      expect(back.equals(bytes)).toBe(true)
      expect(relay.relay.opened.map(({ tlsIdentity }) => tlsIdentity)).toEqual(['client.test'])
    },
  )

  needing('socat')(
    `socat's OPENSSL-LISTEN is dialled and answers after our end, over ${version}`,
    async () => {
      const port = await freePort()
      await using _socat = startProgram([
        ...['socat', '-t', '10'],
        `OPENSSL-LISTEN:${port},bind=127.0.0.1,reuseaddr,cert=${server.both},cafile=${pki.ca}`,
        `SYSTEM:'sha256sum'`,
      ])
      const target = `OPENSSL:127.0.0.1:${port},cafile=${pki.ca},max-version=${version}`
      await using channel = await dial(`${target},cert=${client.both}`)
      channel.stream.end('all that there is')
      expect(String(await receive(channel.stream))).toMatch(/^8f8f560d7bb3a846/)
    },
  )
}

interface Spawned extends AsyncDisposable {
  readonly stdin: NodeJS.WritableStream
  /** Waits until its output matches. All of it so far. */
  says(pattern: RegExp): Promise<string>
}

/** A program that is talked to while it runs. */
function spawned(command: string[]): Spawned {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'ignore'] })
  const closed = once(child, 'close')
  let said = ''
  child.stdout.on('data', chunk => {
    said += chunk
  })
  return {
    stdin: child.stdin,
    async says(pattern) {
      await until(`it has said ${pattern}`, () => pattern.test(said))
      return said
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

async function outputOf(command: string[]): Promise<Buffer> {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'ignore'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', chunk => chunks.push(chunk))
  await new Promise(resolve => child.once('close', resolve))
  return Buffer.concat(chunks)
}
