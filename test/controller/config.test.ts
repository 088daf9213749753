import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readConfig } from '#controller/config.ts'
import { openScratch } from '#test/resources/scratch.ts'

async function read(text: string) {
  await using scratch = await openScratch()
  const file = join(scratch.path, 'controller.yaml')
  await writeFile(file, text)
  return await readConfig(file)
}

test('without a file, and with an empty one, the defaults hold', async () => {
  const defaults = await readConfig(undefined)
  expect(defaults.front).toEqual({ handshake: 5_000, 'first-call': 10_000, unfinished: 1_024 })
  expect(await read('')).toEqual(defaults)
  expect(await read('# nothing\n')).toEqual(defaults)
})

test.each([
  ['250ms', 250],
  ['90s', 90_000],
  ['15m', 900_000],
  ['1.5h', 5_400_000],
  ['2d', 172_800_000],
])('reads the duration %s', async (text, ms) => {
  expect((await read(`certificates: {agent: ${text}}`)).certificates.agent).toBe(ms)
})

test.each([
  ['certficates: {}', 'there is no setting `certficates` at the top level', 'Did you mean `certificates`?'],
  ['front: {handshak: 1s}', 'there is no setting `handshak` at front', 'Did you mean `handshake`?'],
  ['front: {first_call: 1s}', 'there is no setting `first_call` at front', 'Did you mean `first-call`?'],
  ['zzzzzzzzzz: 1', 'there is no setting `zzzzzzzzzz` at the top level', ''],
])('%j: names the nearest setting', async (text, why, fix) => {
  await expect(read(text)).rejects.toMatchObject({ code: 'usage', why, fix })
})

test.each([
  ['front: {handshake: 5}', 'front.handshake'],
  ['front: {handshake: 5 s}', 'front.handshake'],
  ['front: {handshake: -5s}', 'front.handshake'],
  ['front: {handshake: 0s}', 'front.handshake'],
  ['front: {handshake: 30d}', 'front.handshake: must be an hour at most'],
  ['certificates: {agent: 0h}', 'certificates.agent'],
  ['front: {unfinished: 0}', 'front.unfinished'],
  ['front: {unfinished: many}', 'front.unfinished'],
  ['front: 5', 'front'],
  ['- a\n- b', 'the top level'],
  ['"x"', 'the top level'],
])('refuses %j and says where', async (text, where) => {
  await expect(read(text)).rejects.toMatchObject({ code: 'usage', why: expect.stringContaining(where) })
})

test('text that is no YAML is refused in one line that says where', async () => {
  await expect(read('front: {handshake: 1s\nfoo')).rejects.toMatchObject({
    code: 'usage',
    why: expect.stringMatching(/^[^\n]*line \d+[^\n]*$/),
  })
})

test('a file that is not there is not found', async () => {
  await expect(readConfig('/nowhere/controller.yaml')).rejects.toMatchObject({
    code: 'not-found',
    what: 'configuration /nowhere/controller.yaml',
  })
})
