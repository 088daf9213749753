import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { RelayError } from '../errors.ts'

/** The files that an address names. */
export interface TlsFiles {
  readonly cert?: string | undefined
  /** The file of `cert` if absent. */
  readonly key?: string | undefined
  readonly cafile?: string | undefined
  readonly dhparams?: string | undefined
}

/** What was in them: PEM. */
export interface TlsMaterial {
  readonly cert?: string
  readonly key?: string
  readonly ca?: string
  readonly dhparam?: string
}

/** More than any chain or bundle of authorities needs. */
const largestFile = 1_048_576 * 4

/** Changes whenever one of the files does. */
export async function fileStamp({ cert, key, cafile, dhparams }: TlsFiles): Promise<string> {
  const stamps = [cert, key, cafile, dhparams].map(async path => {
    // One that is not there will be missed, with the better words, by whoever reads it.
    const seen = path === undefined ? undefined : await stat(path).catch(() => undefined)
    return seen ? `${seen.dev}:${seen.ino}:${seen.mtimeMs}:${seen.size}` : ''
  })
  return (await Promise.all(stamps)).join(' ')
}

/** Reads all of them. Throws a RelayError that names the file, what is wrong with it and what would be right. */
export async function readMaterial(files: TlsFiles, what: string): Promise<TlsMaterial> {
  const { cert, key = cert, cafile, dhparams } = files
  const certText = cert === undefined ? undefined : await readPem(cert, `${what}: certificate ${cert}`)
  const keyText = key === undefined || key === cert ? certText : await readPem(key, `${what}: key ${key}`)
  const caText = cafile === undefined ? undefined : await readPem(cafile, `${what}: authorities ${cafile}`)
  const dhText =
    dhparams === undefined ? undefined : await readPem(dhparams, `${what}: parameters ${dhparams}`)
  if (certText !== undefined && keyText !== undefined) {
    const certificate = certificateOf(certText, `${what}: certificate ${cert}`)
    const own = key === cert ? 'nokey' : 'foreign'
    const privateKey = keyOf(keyText, `${what}: key ${key}`, own)
    if (!certificate.checkPrivateKey(privateKey)) throw mismatch(`${what}: key ${key}`, cert!, own)
  }
  if (caText !== undefined) certificateOf(caText, `${what}: authorities ${cafile}`, 'any age')
  return {
    ...(certText !== undefined && { cert: certText, key: keyText! }),
    ...(caText !== undefined && { ca: caText }),
    ...(dhText !== undefined && { dhparam: dhText }),
  }
}

async function readPem(path: string, what: string): Promise<string> {
  let file: FileHandle | undefined
  try {
    // A pipe in place of a file would keep its opener waiting.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const found = await file.stat()
    if (found.isDirectory()) throw wrong(what, 'it is a directory', 'Name one file')
    if (!found.isFile() || found.size > largestFile) {
      throw wrong(what, 'it is no file of a few kilobytes', 'Name a file in PEM')
    }
    return await file.readFile('latin1')
  } catch (thrown) {
    throw unreadable(thrown, what)
  } finally {
    await file?.close()
  }
}

function unreadable(thrown: unknown, what: string): RelayError {
  const error = RelayError.from(thrown, what)
  if (error.cause !== thrown) return error
  const { code, why } = error
  const user = userInfo().username
  const fix =
    code === 'not-found'
      ? 'Check the path; it is one of the host that opens the address'
      : code === 'denied'
        ? `Let the user \`${user}\` read it`
        : ''
  return new RelayError(code, { what, why, fix, cause: thrown })
}

/** The first certificate of a chain: the owner's own, or one of an authority. */
function certificateOf(
  text: string,
  what: string,
  age: 'valid now' | 'any age' = 'valid now',
): X509Certificate {
  const pem = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END [^-]+-----/.exec(text)?.[0]
  if (pem === undefined) {
    throw wrong(
      what,
      'there is no certificate in it',
      'Write it in PEM; `openssl x509 -inform DER -in FILE` makes PEM of DER',
    )
  }
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(pem)
  } catch (cause) {
    throw new RelayError('unauthenticated', {
      what,
      why: 'its certificate is damaged',
      fix: 'Copy it anew',
      cause,
    })
  }
  const { validFromDate, validToDate } = certificate
  const now = Date.now()
  if (age === 'valid now' && validToDate.getTime() < now) {
    throw wrong(what, `it has expired, on ${day(validToDate)}`, 'Renew it')
  }
  if (age === 'valid now' && validFromDate.getTime() > now) {
    throw wrong(what, `it is not valid before ${day(validFromDate)}`, 'Check the clock of this host')
  }
  return certificate
}

type KeyPlace = 'nokey' | 'foreign'

function keyOf(text: string, what: string, place: KeyPlace): KeyObject {
  const pem = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[\s\S]*?-----END [^-]+-----/.exec(text)
  const isEncrypted = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text)
  if (isEncrypted) {
    throw wrong(
      what,
      'the key is encrypted, and nobody is there to type its passphrase',
      'Decrypt it with `openssl pkey -in FILE -out NEW` and keep that one readable to its owner only',
    )
  }
  if (!pem) {
    throw wrong(
      what,
      'there is no private key in it',
      place === 'nokey'
        ? 'Write `key=` with the file that has it, or append it to this one'
        : 'Write it in PEM',
    )
  }
  try {
    return createPrivateKey(pem[0])
  } catch (cause) {
    throw new RelayError('unauthenticated', { what, why: 'its key is damaged', fix: 'Copy it anew', cause })
  }
}

function mismatch(what: string, cert: string, place: KeyPlace): RelayError {
  const whose = place === 'nokey' ? 'the certificate in front of it' : `the certificate ${cert}`
  return wrong(what, `it does not belong to ${whose}`, 'Name a certificate and a key that were made together')
}

/** Not `usage`, though the file is wrong: it may be replaced at any time, and then the address opens. */
function wrong(what: string, why: string, fix: string): RelayError {
  return new RelayError('unauthenticated', { what, why, fix })
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}
