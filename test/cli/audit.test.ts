import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashOf } from '#telemetry/audit/chain.ts'
import { until } from '#test/resources/until.ts'
import { fleetcat, start } from './running.ts'

let home: string
let fleet: ReturnType<typeof start>
const run = (...words: string[]) => fleetcat(words, { home })

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'fleetcat-audit-'))
  fleet = start(['up', '--listen', '127.0.0.1:0', '--log-level', 'warn'], { home })
  const { code, stderr } = await run('status', '--wait', '15s')
  if (code !== 0) throw new Error(`${stderr}\n${fleet.stderr()}`)
  for (const name of ['one', 'two', 'three']) {
    const made = await run('create', name, 'TCP4-LISTEN:0,bind=127.0.0.1,fork', 'TCP4:127.0.0.1:9')
    if (made.code !== 0) throw new Error(made.stderr)
  }
})

afterAll(async () => {
  await fleet.stop('SIGTERM')
  await rm(home, { recursive: true, force: true })
})

async function entries(...words: string[]) {
  const { code, stdout, stderr } = await run('audit', ...words, '-o', 'json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout).items as Record<string, unknown>[]
}

describe('fleetcat audit', () => {
  test('shows who did what, as a table and for scripts', async () => {
    const { code, stdout } = await run('audit')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^SEQ +TIME +BY +EVENT +TARGET +OUTCOME +REASON +WHAT\n/)
    expect(stdout).toMatch(/ operator\/\S+ +relay.created +relay\/one +done /)
    const [made] = await entries('--event', 'relay', '--target', 'relay/one')
    expect(made).toMatchObject({
      kind: 'AuditEntry',
      event: 'relay.created',
      outcome: 'done',
      from: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect((await entries('--event', 'relay', '-n', '2')).map(({ target }) => target)).toEqual([
      'relay/two',
      'relay/three',
    ])
    expect((await entries('--since', '1h')).length).toBeGreaterThan(3)
    const lines = (await run('audit', '-o', 'jsonl')).stdout.trimEnd().split('\n')
    expect(lines.map(line => JSON.parse(line).apiVersion)).toContain('fleetcat/v1')
    expect(await run('audit', '--by', 'nobody')).toMatchObject({
      code: 0,
      stdout: '',
      stderr: 'No row of the audit log matches.\n',
    })
  })

  test('follows the log, and says what it cannot do', async () => {
    await using following = start(['audit', '-f', '-n', '1', '-o', 'jsonl', '--event', 'token'], { home })
    let text = ''
    following.child.stdout.on('data', chunk => {
      text += chunk
    })
    await until('the last is shown', () => text.includes('token.created'))
    await run('token', 'create', 'agent', '--name', 'edge-7')
    await until('the new one is shown', () => text.includes('edge-7'))
    expect(await run('audit', '-f', '-o', 'json')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('-o jsonl'),
    })
    expect(await run('audit', '--since', 'yesterday')).toMatchObject({ code: 2 })
  })

  test.each([
    ['jsonl', /^\{"apiVersion":"fleetcat\/v1","cluster":"fleet-[0-9a-f]+","kind":"AuditEntry","seq":1,/],
    [
      'rfc5424',
      /^<110>1 \S+Z fleet-[0-9a-f]+ fleetcat - token.created \[fleetcat@32473 seq="1" .*\] \ufeffjoin/,
    ],
    ['cef', /^CEF:0\|fleetcat\|fleetcat\|\d+\.\d+\.\d+\|token\.created\|join token made\|3\|rt=\d+ /],
  ])('export writes every row as a line of %s', async (format, first) => {
    const { code, stdout, stderr } = await run('audit', 'export', '--format', format)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(first)
    expect(lines.length).toBeGreaterThan(6)
    expect(await run('audit', 'export', '--format', 'xml')).toMatchObject({ code: 2 })
  })

  test('verify asks the controller, and compares what was noted', async () => {
    const { code, stdout } = await run('audit', 'verify')
    expect(code).toBe(0)
    const [, head = ''] = /^intact: \d+ rows; the head is (\d+:[0-9a-f]{64})\n$/.exec(stdout) ?? []
    expect(await run('audit', 'verify', '--head', head)).toMatchObject({ code: 0 })
    const [seq = '', hash = ''] = head.split(':')
    const later = `${Number(seq) + 5}:${hash}`
    expect(await run('audit', 'verify', '--head', later, '-o', 'json')).toMatchObject({ code: 1 })
    const other = `${seq}:${'0'.repeat(64)}`
    expect(await run('audit', 'verify', '--head', other)).toMatchObject({
      code: 1,
      stdout: `broken at row ${seq}: its hash is not the one that was noted\n`,
    })
    expect(await run('audit', 'verify', '--head', 'x')).toMatchObject({ code: 2 })
    // Neither yes nor no.
    expect(await run('audit', 'verify', '--data', '/nonexistent')).toMatchObject({ code: 4 })
    expect(await run('audit', 'verify', '--context', 'none')).toMatchObject({ code: 2 })
  })
})

describe('what was done to a copy of the log is found, and the first row that it concerns is named', () => {
  async function tampered(act: (database: DatabaseSync) => void, ...words: string[]) {
    const copy = await mkdtemp(join(tmpdir(), 'fleetcat-copy-'))
    try {
      await cp(join(home, 'controller', 'store'), copy, { recursive: true })
      {
        using database = new DatabaseSync(join(copy, 'store.db'))
        act(database)
      }
      const { code, stdout } = await run('audit', 'verify', '--data', copy, '-o', 'json', ...words)
      return { code, ...JSON.parse(stdout) }
    } finally {
      await rm(copy, { recursive: true, force: true })
    }
  }
  const edited = (seq: number) => ({
    code: 1,
    intact: false,
    breach: { seq, why: 'it was edited or stands in the place of another: its hash does not fit' },
  })
  const missing = (seq: number, why = 'it is missing') => ({ code: 1, intact: false, breach: { seq, why } })

  test('nothing', async () => {
    expect(await tampered(() => {})).toMatchObject({ code: 0, intact: true, breach: null })
  })

  test.each([
    [
      'its text',
      "UPDATE audit SET bytes = CAST(replace(CAST(bytes AS TEXT), 'done', 'fine') AS BLOB) WHERE seq = 4",
    ],
    ['one bit of its time', 'UPDATE audit SET at = at + 1 WHERE seq = 4'],
    ['its hash', 'UPDATE audit SET hash = zeroblob(32) WHERE seq = 4'],
    ['its hash, made shorter', "UPDATE audit SET hash = x'00' WHERE seq = 4"],
    [
      'all of it',
      'UPDATE audit SET (at, bytes, hash) = (SELECT at, bytes, hash FROM audit WHERE seq = 5) WHERE seq = 4',
    ],
  ])('a row was edited: %s', async (_, sql) => {
    expect(await tampered(database => database.exec(sql))).toMatchObject(edited(4))
  })

  test('a row was edited, with its hash', async () => {
    const forge = (database: DatabaseSync) => {
      const rowAt = (seq: number) =>
        database.prepare('SELECT at, bytes, hash FROM audit WHERE seq = ?').get(seq) as never
      const { hash } = rowAt(3) as { hash: Uint8Array }
      const { at } = rowAt(4) as { at: number }
      const bytes = Buffer.from('{"event":"nothing"}')
      const forged = hashOf(hash, { seq: 4n, at, bytes })
      database.prepare('UPDATE audit SET bytes = ?, hash = ? WHERE seq = 4').run(bytes, forged)
    }
    expect(await tampered(forge)).toMatchObject(edited(5))
  })

  test('rows were deleted', async () => {
    expect(await tampered(db => db.exec('DELETE FROM audit WHERE seq = 4'))).toMatchObject(missing(4))
    expect(await tampered(db => db.exec('DELETE FROM audit WHERE seq BETWEEN 3 AND 5'))).toMatchObject(
      missing(3, 'it and all up to row 5 are missing'),
    )
    expect(await tampered(db => db.exec('DELETE FROM audit WHERE seq = 1'))).toMatchObject(missing(1))
  })

  test('rows changed places', async () => {
    const swap =
      'UPDATE audit SET seq = -3 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = -3'
    expect(await tampered(database => database.exec(swap))).toMatchObject(edited(3))
  })

  test('a row was put before all others', async () => {
    const insert = 'INSERT INTO audit SELECT 0, at, bytes, hash FROM audit WHERE seq = 1'
    expect(await tampered(database => database.exec(insert))).toMatchObject({
      code: 1,
      breach: { seq: 0, why: 'it comes after a later row' },
    })
  })

  test('the end was cut off, even in the state of the store, if the head was noted', async () => {
    const cut = 'DELETE FROM audit WHERE seq > 5'
    const { head } = await tampered(() => {})
    expect(await tampered(database => database.exec(cut))).toMatchObject({ code: 1, breach: { seq: 6 } })
    const hidden = `${cut}; UPDATE state SET audited = 5, head = (SELECT hash FROM audit WHERE seq = 5)`
    expect(await tampered(database => database.exec(hidden))).toMatchObject({ code: 0 })
    const noted = ['--head', `${head.seq}:${head.hash}`]
    expect(await tampered(database => database.exec(hidden), ...noted)).toMatchObject({
      code: 1,
      breach: { seq: 6, why: `it and all up to row ${head.seq} are missing` },
    })
  })

  test('the beginning was discarded as if by retention, if the head was noted', async () => {
    const { head } = await tampered(() => {})
    const rest =
      'UPDATE state SET trimmed = audited, base = head; DELETE FROM audit WHERE seq <= (SELECT audited FROM state)'
    expect(await tampered(db => db.exec(rest), '--head', `1:${head.hash}`)).toMatchObject({
      code: 1,
      breach: { seq: 1, why: 'it was discarded by retention, and cannot be compared any more' },
    })
  })
})
