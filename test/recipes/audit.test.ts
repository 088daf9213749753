import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readConfig } from '#controller/config.ts'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { root } from '../resources/program.ts'
import { openScratch } from '../resources/scratch.ts'
import { follow, readPage } from './guide.ts'

needing('bash')('the audit log, as the guide has it', async () => {
  const page = readPage('audit', { 8080: String(await freePort()) })
  await using fleet = await openFleet()
  await fleet.startController()
  await fleet.startAgent('edge-1')

  const { code, stdout, stderr } = await follow(page, fleet)
  expect(stderr).not.toMatch(/fleetcat:/)
  expect(code).toBe(0)
  expect(stdout).toMatch(/ operator\/\S+ +relay\.created +relay\/web +done +a demo +relay created\n/)
  expect(stdout).toMatch(/ operator\/\S+ +revoked +relay\/web +done +the demo is over +revoked\n/)
  expect(stdout).toMatch(/^\{"apiVersion":"fleetcat\/v1","kind":"AuditEntry",.*"event":"relay\.created"/m)
  expect(stdout).toMatch(/^intact: \d+ rows; the head is \d+:[0-9a-f]{64}$/m)
  const lines = (name: string) => readFileSync(join(fleet.folder, name), 'utf8').trimEnd().split('\n')
  expect(lines('audit.jsonl').length).toBeGreaterThan(5)
  expect(lines('audit.syslog').every(line => line.startsWith('<110>1 '))).toBe(true)
  expect(lines('audit.cef').every(line => line.startsWith('CEF:0|fleetcat|'))).toBe(true)
})

test('the configuration of the page is one', async () => {
  const text = readFileSync(join(root, 'docs/guide/audit.md'), 'utf8')
  await using scratch = await openScratch()
  const file = join(scratch.path, 'controller.yaml')
  await writeFile(file, /```yaml\n([^`]*)```/.exec(text)?.[1] ?? '')
  expect((await readConfig(file)).audit).toEqual({
    keep: 400 * 86_400_000,
    'keep-rows': 5_000_000,
    syslog: {
      address: 'logs.example.com:6514',
      protocol: 'tls',
      cafile: '/etc/fleetcat/logs-ca.pem',
      format: 'rfc5424',
    },
  })
})
