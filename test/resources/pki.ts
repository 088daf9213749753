import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Issue {
  readonly name: string
  /** As openssl writes them: `DNS:localhost,IP:127.0.0.1`. */
  readonly alt?: string
  readonly usage?: 'serverAuth' | 'clientAuth'
  /** Past already. */
  readonly expired?: boolean
  /** Signs itself. */
  readonly alone?: boolean
}

export interface Issued {
  readonly cert: string
  readonly key: string
  /** Both in one file, as socat likes it. */
  readonly both: string
  readonly sha256: string
}

/** An authority of a test, and what it signs: files made by openssl. */
export interface Pki extends Disposable {
  readonly folder: string
  readonly ca: string
  issue(issue: Issue): Issued
}

export function openPki(): Pki {
  const folder = mkdtempSync(join(tmpdir(), 'fleetcat-pki-'))
  const openssl = (...words: string[]) =>
    execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] }).toString()
  const newKey = (name: string) => [
    ...['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', `${name}.key`, '-subj', `/CN=${name}`],
  ]
  openssl('req', '-x509', ...newKey('authority'), '-out', 'authority.pem', '-days', '2')
  let made = 0

  return {
    folder,
    ca: join(folder, 'authority.pem'),
    issue({ name, alt, usage, expired, alone }) {
      const file = `${name}-${++made}`
      const extensions = [
        'basicConstraints=CA:FALSE',
        ...(alt ? [`subjectAltName=${alt}`] : []),
        ...(usage ? [`extendedKeyUsage=${usage}`] : []),
      ]
      writeFileSync(join(folder, `${file}.ext`), extensions.join('\n'))
      openssl('req', '-new', ...newKey(name), '-out', `${file}.csr`)
      const [key, cert, both] = [`${file}.key`, `${file}.pem`, `${file}-both.pem`]
      openssl('pkey', '-in', `${name}.key`, '-out', key)
      const signer = alone
        ? ['-signkey', key]
        : ['-CA', 'authority.pem', '-CAkey', 'authority.key', '-CAcreateserial']
      // openssl 3.0 has no `-not_after`, but it takes a certificate's days as a negative number.
      const days = expired ? '-1' : '2'
      openssl(
        'x509',
        '-req',
        '-in',
        `${file}.csr`,
        ...signer,
        '-days',
        days,
        '-extfile',
        `${file}.ext`,
        '-out',
        cert,
      )
      writeFileSync(
        join(folder, both),
        readFileSync(join(folder, cert), 'utf8') + readFileSync(join(folder, key), 'utf8'),
      )
      const printed = openssl('x509', '-in', cert, '-noout', '-fingerprint', '-sha256')
      const at = (path: string) => join(folder, path)
      return { cert: at(cert), key: at(key), both: at(both), sha256: printed.split('=')[1]!.trim() }
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
