import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openPki } from '#test/resources/pki.ts'

const pki = openPki()
afterAll(() => pki[Symbol.dispose]())
const good = pki.issue({ name: 'good', alt: 'DNS:localhost,IP:127.0.0.1' })
const other = pki.issue({ name: 'other' })
const expired = pki.issue({ name: 'expired', expired: true })

function file(name: string, text: string): string {
  const path = join(pki.folder, name)
  writeFileSync(path, text)
  return path
}

const encrypted = join(pki.folder, 'encrypted.key')
execFileSync('openssl', ['pkey', '-in', good.key, '-aes256', '-passout', 'pass:secret', '-out', encrypted])
const traditional = join(pki.folder, 'traditional.key')
execFileSync(
  'openssl',
  [...['ec', '-in', good.key, '-aes256', '-passout', 'pass:secret', '-out', traditional]],
  { stdio: 'ignore' },
)
const der = join(pki.folder, 'good.der')
execFileSync('openssl', ['x509', '-in', good.cert, '-outform', 'DER', '-out', der])
const damaged = file('damaged.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')
const pipe = join(pki.folder, 'pipe')
execFileSync('mkfifo', [pipe])
const weakKey = join(pki.folder, 'weak.key')
const weak = join(pki.folder, 'weak.pem')
execFileSync(
  'openssl',
  ['req', '-x509', '-newkey', 'rsa:512', '-nodes', '-keyout', weakKey, '-out', weak, '-subj', '/CN=weak'],
  { stdio: 'ignore' },
)

async function failure(options: string): Promise<RelayError> {
  const opening = bindAddress(`OPENSSL-LISTEN:0,bind=127.0.0.1,${options}`).acceptor!.listen(openContext())
  const error = await opening.then(
    async listener => {
      await listener[Symbol.asyncDispose]()
      throw new Error('it listens')
    },
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(RelayError)
  return error as RelayError
}

for (const [name, options, code, message] of [
  [
    'a certificate that is not there',
    'cert=/nowhere/c.pem,verify=0',
    'not-found',
    /certificate \/nowhere\/c.pem: no such file.*Check the path/,
  ],
  [
    'a key that is not there',
    `cert=${good.cert},key=/nowhere/k.pem,verify=0`,
    'not-found',
    /key \/nowhere\/k.pem: no such file/,
  ],
  [
    'authorities that are not there',
    `cert=${good.both},cafile=/nowhere/ca.pem`,
    'not-found',
    /authorities \/nowhere\/ca.pem/,
  ],
  ['a directory', `cert=${pki.folder},verify=0`, 'unauthenticated', /it is a directory\. Name one file/],
  ['a pipe', `cert=${pipe},verify=0`, 'unauthenticated', /no file of a few kilobytes/],
  ['a device', 'cert=/dev/zero,verify=0', 'unauthenticated', /no file of a few kilobytes/],
  [
    'a certificate without its key',
    `cert=${good.cert},verify=0`,
    'unauthenticated',
    /no private key in it\. Write `key=`/,
  ],
  [
    'a key that holds none',
    `cert=${good.cert},key=${other.cert},verify=0`,
    'unauthenticated',
    /no private key in it\. Write it in PEM/,
  ],
  [
    'the key of another certificate',
    `cert=${good.cert},key=${other.key},verify=0`,
    'unauthenticated',
    /does not belong to the certificate .*good/,
  ],
  [
    'a certificate that has expired',
    `cert=${expired.both},verify=0`,
    'unauthenticated',
    /it has expired, on \d{4}-\d\d-\d\d\. Renew it/,
  ],
  [
    'a key that is encrypted',
    `cert=${good.cert},key=${encrypted},verify=0`,
    'unauthenticated',
    /the key is encrypted.*openssl pkey/,
  ],
  [
    'a key that was encrypted long ago',
    `cert=${good.cert},key=${traditional},verify=0`,
    'unauthenticated',
    /the key is encrypted/,
  ],
  ['a certificate in DER', `cert=${der},verify=0`, 'unauthenticated', /no certificate in it.*-inform DER/],
  ['a damaged certificate', `cert=${damaged},verify=0`, 'unauthenticated', /its certificate is damaged/],
  [
    'authorities without one',
    `cert=${good.both},cafile=${good.key}`,
    'unauthenticated',
    /authorities .* no certificate in it/,
  ],
  ['a weak key', `cert=${weak},key=${weakKey},verify=0`, 'unauthenticated', /too weak/],
  [
    'ciphers that do not exist',
    `cert=${good.both},verify=0,cipher=NO-SUCH-CIPHER`,
    'usage',
    /OpenSSL knows none of the ciphers/,
  ],
] as const) {
  test(`${name} keeps it from listening, and the error says so`, async () => {
    const error = await failure(options)
    expect(error.message).toMatch(message)
    expect(error.code).toBe(code)
    expect(error.what).toContain('OPENSSL-LISTEN:127.0.0.1:0')
    expect(error.fix).not.toBe('')
    expect(error.message).not.toContain('BEGIN')
  })
}

test.skipIf(process.getuid?.() === 0)(
  'a file that may not be read is named, with the user that asked',
  async () => {
    const secret = file('secret.pem', readFileSync(good.both, 'utf8'))
    chmodSync(secret, 0)
    expect((await failure(`cert=${secret},verify=0`)).message).toMatch(/Let the user `.*` read it/)
  },
)

test('a file that the ceiling does not permit is not even looked for', async () => {
  const check = () => {
    throw new RelayError('denied', { what: 'the file', why: 'it says no', fix: 'Ask the owner' })
  }
  const cx = openContext({ egress: { check } })
  for (const path of [good.both, '/nowhere/c.pem']) {
    const listening = bindAddress(`OPENSSL-LISTEN:0,bind=127.0.0.1,cert=${path},verify=0`).acceptor!.listen(
      cx,
    )
    const error = await listening.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'denied',
      what: `OPENSSL-LISTEN:127.0.0.1:0: reading ${path}`,
      why: 'it says no',
      fix: 'Ask the owner',
    })
    const dialling = bindAddress(`OPENSSL:127.0.0.1:1,cert=${path}`).dialer!.dial(cx)
    await expect(dialling).rejects.toMatchObject({ code: 'denied', what: expect.stringContaining('reading') })
  }
})

test('a client takes up a renewed certificate with its next connection, and says what is wrong with a bad one', async () => {
  const [first, second] = [pki.issue({ name: 'first' }), pki.issue({ name: 'second' })]
  const current = join(pki.folder, 'current.pem')
  copyFileSync(first.both, current)
  await using listener = await bindAddress(
    `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${good.both},cafile=${pki.ca}`,
  ).acceptor!.listen(openContext())
  const arrivals = listener[Symbol.asyncIterator]()
  const target = bindAddress(`OPENSSL:${listener.local},cafile=${pki.ca},cert=${current}`)
  const seen = async () => {
    await using _near = await target.dialer!.dial(openContext())
    const { value } = await arrivals.next()
    await using far = value
    return far?.peer.identity
  }
  expect(await seen()).toBe('first')
  expect(await seen()).toBe('first')
  copyFileSync(second.both, `${current}.new`)
  renameSync(`${current}.new`, current)
  expect(await seen()).toBe('second')
  writeFileSync(current, 'nothing')
  await expect(target.dialer!.dial(openContext())).rejects.toMatchObject({
    what: expect.stringContaining(`certificate ${current}`),
  })
})

test("without `cafile` the authorities of the host count, and a test's own is none of them", async () => {
  await using listener = await bindAddress(
    `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${good.both},verify=0`,
  ).acceptor!.listen(openContext())
  await expect(bindAddress(`OPENSSL:${listener.local}`).dialer!.dial(openContext())).rejects.toMatchObject({
    code: 'unauthenticated',
    why: expect.stringContaining('an authority that is not trusted here'),
    fix: expect.stringContaining('cafile='),
  })
  await using near = await bindAddress(`OPENSSL:${listener.local},verify=0`).dialer!.dial(openContext())
  expect(near.peer.identity).toBeUndefined()
})
