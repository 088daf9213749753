import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { planCopy } from '#cli/copy-sides.ts'
import { type OpenFar, runCopy } from '#cli/copying.ts'
import { progressLine } from '#cli/output/copy-progress.ts'
import { copyItem, describeCopy } from '#cli/views/copy.ts'
import { parseAddress } from '#relay/address.ts'
import { ownEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { makeTree, snapshot } from '#test/resources/copies.ts'
import { openFolder } from '#test/resources/folder.ts'

let folder: AsyncDisposable & { readonly path: string }
beforeEach(async () => {
  folder = await openFolder()
  await mkdir(at('in'))
})
afterEach(() => folder[Symbol.asyncDispose]())
const at = (name: string) => join(folder.path, name)

/** Agents that are all this host: what a tunnel opens there is opened here. */
const here: OpenFar = (address, signal) => {
  const { host: _, ...near } = parseAddress(address)
  return bindAddress(near).dialer!.dial({ signal, egress: ownEgress })
}
const never = new AbortController().signal

describe('the sides of a copy', () => {
  test.each([
    ['a', '@db-1:/srv/in', 'SEND:/home/ann/a', '@db-1/RECEIVE:/srv/in'],
    ['a', '@db-1:/srv/in/', 'SEND:/home/ann/a', '@db-1/RECEIVE:/srv/in/a,exact'],
    ['@db-1:/srv/a:b', '/tmp', '@db-1/SEND:"/srv/a:b"', 'RECEIVE:/tmp'],
    ['@DB-1:/srv/x, y', '@b:/', '@db-1/SEND:"/srv/x, y"', '@b/RECEIVE:"/x, y",exact'],
  ])('%s and %s are addresses', (from, to, sending, receiving) => {
    const plan = planCopy(from === 'a' ? '/home/ann/a' : from, to, {})
    expect([plan.sending, plan.receiving]).toEqual([sending, receiving])
    for (const address of [sending, receiving]) expect(() => bindAddress(address)).not.toThrow()
  })

  test.each([
    ['db-1:/srv/in', 'a', 'For an agent write `@db-1:/srv/in`, for a file on this host `./db-1:/srv/in`'],
    ['@db-1/srv/in', 'a', 'Write `@db-1:/srv/in`; for a file of that name on this host, `./@db-1/srv/in`'],
    ['a', '@b//tmp/x', 'Write `@b:/tmp/x`; for a file of that name on this host, `./@b//tmp/x`'],
    ['@db-1:srv', 'a', 'Write the whole path: `@db-1:/srv`'],
    ['@db 1:/srv', 'a', 'Write `@AGENT:/path`; see `fleetcat agents`'],
    ['a', 'b', 'Name an agent, as in `@AGENT:/path`, or use cp -a'],
    ['@a:/', '@b:/x/', 'Write which name it shall have'],
  ])('%s to %s is refused with what to write', (from, to, fix) => {
    expect(() => planCopy(from, to, {})).toThrow(expect.objectContaining({ code: 'usage', fix }))
  })
})

describe('a copy', () => {
  test('goes from one agent to another, and is summed up', async () => {
    await makeTree(at('tree'), randomBytes)
    const plan = planCopy(`@a:${at('tree')}`, `@b:${at('in')}/`, {})
    const shown: number[] = []
    const outcome = await runCopy(plan, {
      open: here,
      signal: never,
      progress: ({ done, total }) => void shown.push(total === 0 ? 0 : done / total),
    })
    expect(await snapshot(at('in/tree'))).toEqual(await snapshot(at('tree')))
    expect(shown).toEqual([...shown].sort((a, b) => a - b))
    expect(shown.at(-1)).toBeLessThanOrEqual(1)
    const item = copyItem(plan, outcome, false)
    expect(item).toMatchObject({ kind: 'Copy', target: `@b:${at('in/tree')}`, files: 6, refused: [] })
    expect(describeCopy(item)).toMatch(
      /^copied to @b:.*\/in\/tree: 6 files, 3 directories, 3 links, 2.9M in .*\nsha256 [0-9a-f]{64}\n$/,
    )
  })

  test('as a dry run lists what would be made and what replaced', async () => {
    await mkdir(at('tree/sub'), { recursive: true })
    await writeFile(at('tree/new'), '')
    await writeFile(at('tree/old'), '')
    await mkdir(at('in/tree'))
    await writeFile(at('in/tree/old'), 'mine')
    const plan = planCopy(at('tree'), `@b:${at('in')}`, { dryRun: true })
    const item = copyItem(plan, await runCopy(plan, { open: here, signal: never }), true)
    expect(describeCopy(item)).toBe(
      `new      new\nreplace  old\nnew      sub/\nnothing was copied; it would be @b:${at('in/tree')}\n`,
    )
    expect(await readFile(at('in/tree/old'), 'utf8')).toBe('mine')
  })

  test('shows names of others without what a terminal would obey', async () => {
    await mkdir(at('tree'))
    await writeFile(at('tree/a\u001b[2Jb\nc\u202e'), '')
    const plan = planCopy(`@a:${at('tree')}`, at('in'), { dryRun: true })
    const said = describeCopy(copyItem(plan, await runCopy(plan, { open: here, signal: never }), true))
    expect(said.split('\n')).toHaveLength(3)
    expect(said.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  })

  test('that fails says on which side', async () => {
    await writeFile(at('file'), '')
    await mkdir(at('in/file'))
    const plan = planCopy(at('file'), `@b:${at('in')}`, {})
    await expect(runCopy(plan, { open: here, signal: never })).rejects.toMatchObject({
      code: 'conflict',
      what: `@b: ${at('in/file')}`,
    })
  })

  test('that is interrupted ends with the reason and leaves nothing', async () => {
    await writeFile(at('file'), randomBytes(30_000_000))
    const plan = planCopy(at('file'), `@b:${at('in')}`, {})
    const stop = new AbortController()
    const why = new RelayError('revoked', { what: 'the tunnel', why: 'an operator took it back' })
    const copying = runCopy(plan, {
      open: here,
      signal: stop.signal,
      progress: ({ moved }) => {
        if (moved > 5_000_000) stop.abort(why)
      },
    })
    await expect(copying).rejects.toBe(why)
    expect(await readdir(at('in'))).toEqual([])
  })
})

test('the line of progress has a bar, the rate and the time that is left', () => {
  expect(progressLine({ total: 4_194_304, done: 1_048_576, rate: 524_288 })).toBe(
    '[██████░░░░░░░░░░░░░░░░░░] 25%  1.0M of 4.0M, 512K/s, 6s left',
  )
  expect(progressLine({ total: 0, done: 0, rate: 0 })).toBe('looking what there is to copy')
})
