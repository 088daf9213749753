import { join } from 'node:path'
import { expect } from 'vitest'
import { openFolder } from '#test/resources/folder.ts'
import { needing } from '#test/resources/needs.ts'
import { openPki } from '#test/resources/pki.ts'
import { freePort } from '#test/resources/ports.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { openTestRelay } from '#test/resources/relays.ts'
import { until } from '#test/resources/until.ts'

/** `NAME=value` of each variable of socat's. */
function variables(output: string): Record<string, string> {
  return Object.fromEntries(
    [...output.matchAll(/^SOCAT_(\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
  )
}

/** What a client of the real socat's listener is told, by its own `env`. */
async function toldBySocat(listen: string, client: readonly string[]): Promise<Record<string, string>> {
  await using listener = startProgram(['socat', '-d', '-d', listen, 'EXEC:env'])
  await listener.says(/listening on/)
  return variables((await run(['socat', '-u', ...client, '-'])).stdout)
}

async function toldByUs(listen: string, client: readonly string[]): Promise<Record<string, string>> {
  await using relay = await openTestRelay({ listen, targets: ['EXEC:env'] })
  const { stdout } = await run(['socat', '-u', ...client, '-'])
  await until('it is over', () => relay.closed.length === 1)
  return variables(stdout)
}

/** What differs from one run to the next. */
const fleeting = {
  PID: expect.any(String),
  PPID: expect.any(String),
  PEERPORT: expect.stringMatching(/^\d+$/),
}

needing('socat')('a program is told of its client what socat tells it', async () => {
  await using folder = await openFolder()
  for (const [listen, client] of [
    ['TCP4-LISTEN:PORT,bind=127.0.0.1,reuseaddr', 'TCP4:127.0.0.1:PORT'],
    ['TCP6-LISTEN:PORT,bind=[::1],reuseaddr', 'TCP6:[::1]:PORT'],
  ] as const) {
    const port = String(await freePort())
    const at = (text: string) => text.replace('PORT', port)
    const theirs = await toldBySocat(at(listen), [at(client)])
    expect(await toldByUs(at(listen), [at(client)])).toEqual({ ...theirs, ...fleeting })
    expect(theirs).toMatchObject({ PEERADDR: expect.any(String), SOCKPORT: port })
  }
  await using relay = await openTestRelay({
    listen: 'UDP4-LISTEN:0,bind=127.0.0.1,amplification=1000',
    targets: ['EXEC:env'],
  })
  const asked = ['socat', '-t', '1', '-', `UDP4:127.0.0.1:${relay.port}`]
  const { stdout } = await run(asked, { input: 'who am I?' })
  expect(variables(stdout)).toMatchObject({ PEERADDR: '127.0.0.1', SOCKPORT: String(relay.port) })
  const path = join(folder.path, 's')
  expect(await toldByUs(`UNIX-LISTEN:${path}`, [`UNIX-CONNECT:${path}`])).toMatchObject({ SOCKADDR: path })
})

needing('socat', 'openssl')('and of a client with a certificate, whose it is', async () => {
  using pki = openPki()
  const server = pki.issue({ name: 'localhost', alt: 'DNS:localhost,IP:127.0.0.1' })
  const client = pki.issue({ name: 'client, one', alt: 'DNS:a.test,DNS:b.test' })
  const port = await freePort()
  const listen = `OPENSSL-LISTEN:${port},bind=127.0.0.1,reuseaddr,cert=${server.both},cafile=${pki.ca},verify=1`
  const dialled = [`OPENSSL:localhost:${port},cert="${client.both}",cafile=${pki.ca}`]
  const theirs = await toldBySocat(listen, dialled)
  const { OPENSSL_CIPHER, OPENSSL_PROTO_VERSION, ...certificate } = theirs
  expect(await toldByUs(`${listen},pf=ip4`, dialled)).toEqual({ ...certificate, ...fleeting })
  expect(certificate).toMatchObject({
    OPENSSL_X509_SUBJECT: 'CN = "client, one"',
    OPENSSL_X509_COMMONNAME: 'client, one',
    OPENSSL_X509V3_SUBJECTALTNAME_DNS: 'a.test // b.test',
  })
})

needing('socat')('ours say the same, and which fleetcat it is', async () => {
  await using relay = await openTestRelay({ targets: ['EXEC:env'] })
  const { stdout } = await run(['socat', '-u', `TCP4:127.0.0.1:${relay.port}`, '-'])
  expect(stdout).toMatch(/^FLEETCAT_PEERADDR=127\.0\.0\.1$/m)
  expect(stdout).toMatch(new RegExp(`^FLEETCAT_SOCKPORT=${relay.port}$`, 'm'))
  expect(stdout).toMatch(new RegExp(`^FLEETCAT_PID=${process.pid}$`, 'm'))
})
