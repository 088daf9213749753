import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A file with a key on P-256 and a certificate for `localhost`, as most servers want them. */
export function certificateIn(directory: string): string {
  const pem = join(directory, 'both.pem')
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', pem]
  execFileSync('openssl', ['req', '-x509', ...key, '-out', `${pem}.crt`, '-days', '2', ...subject], {
    stdio: 'ignore',
  })
  writeFileSync(pem, readFileSync(`${pem}.crt`), { flag: 'a' })
  return pem
}
