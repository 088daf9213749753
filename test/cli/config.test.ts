import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Context, identityDir, readConfig } from '#cli/config.ts'
import { chosenContext, forgetContext, freeName, rememberContext, useContext } from '#cli/contexts.ts'
import { fleetcat, temporary } from './running.ts'

const prod: Context = { name: 'prod', cluster: 'fleet-1', addresses: ['10.0.0.1:7443'], operator: 'ana' }
const lab: Context = { name: 'lab', cluster: 'fleet-2', addresses: ['127.0.0.1:7443'], operator: 'bo' }

let home: Awaited<ReturnType<typeof temporary>>
const before = { home: process.env.FLEETCAT_HOME, context: process.env.FLEETCAT_CONTEXT }
beforeEach(async () => {
  home = await temporary()
  process.env.FLEETCAT_HOME = home.path
  delete process.env.FLEETCAT_CONTEXT
})
afterEach(async () => {
  await home[Symbol.asyncDispose]()
  restore('FLEETCAT_HOME', before.home)
  restore('FLEETCAT_CONTEXT', before.context)
})

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

describe('contexts', () => {
  test('are chosen by name, by the environment, or as the current one', async () => {
    await rememberContext(prod, { current: true })
    await rememberContext(lab, { current: false })
    expect(await chosenContext(undefined)).toEqual(prod)
    expect(await chosenContext('lab')).toEqual(lab)
    process.env.FLEETCAT_CONTEXT = 'lab'
    expect(await chosenContext(undefined)).toEqual(lab)
    expect(await chosenContext('prod')).toEqual(prod)
    await expect(chosenContext('pord')).rejects.toThrow(/Did you mean prod\?/)
  })

  test('a new one takes the place of one of the same name', async () => {
    await rememberContext(prod, { current: true })
    await rememberContext({ ...prod, operator: 'eve' }, { current: false })
    expect(await readConfig()).toEqual({ current: 'prod', contexts: [{ ...prod, operator: 'eve' }] })
  })

  test('forgetting the current one leaves none current', async () => {
    await rememberContext(prod, { current: true })
    await rememberContext(lab, { current: false })
    await forgetContext('prod')
    await expect(chosenContext(undefined)).rejects.toThrow(/contexts use NAME/)
    await useContext('lab')
    expect(await chosenContext(undefined)).toEqual(lab)
  })

  test('the file and its directory are for their owner only, and nothing is left beside it', async () => {
    await rememberContext(prod, { current: true })
    expect((await stat(home.path)).mode & 0o777).toBe(0o700)
    expect((await stat(join(home.path, 'config.yaml'))).mode & 0o777).toBe(0o600)
    expect(await readdir(home.path)).toEqual(['config.yaml'])
  })

  test('a person may write the file as YAML', async () => {
    await writeFile(
      join(home.path, 'config.yaml'),
      'current: lab\ncontexts:\n- name: lab # mine\n  cluster: fleet-2\n  addresses: ["127.0.0.1:7443"]\n  operator: bo\n',
    )
    expect(await chosenContext(undefined)).toEqual(lab)
  })

  test.each([
    ['no list', '[]'],
    ['a name that leads elsewhere', JSON.stringify({ contexts: [{ ...prod, name: '../../etc' }] })],
    ['an address without a port', JSON.stringify({ contexts: [{ ...prod, addresses: ['10.0.0.1'] }] })],
    ['an address of no kind', JSON.stringify({ contexts: [{ ...prod, addresses: ['http://x:99999'] }] })],
    ['half of it', JSON.stringify({ contexts: [prod] }, null, 2).slice(0, 90)],
    ['no address', JSON.stringify({ contexts: [{ ...prod, addresses: [] }] })],
  ])('a damaged file is refused by name: %s', async (_, text) => {
    await writeFile(join(home.path, 'config.yaml'), text)
    await expect(readConfig()).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(
        /^configuration [^\n]*config\.yaml: [^\n]*\. Correct it; or remove it[^\n]*$/,
      ),
    })
  })

  test('an operator of a cluster keeps its name; another one gets a free one', () => {
    const config = { contexts: [prod, lab] }
    expect(freeName(config, prod)).toBe('prod')
    expect(freeName(config, { cluster: 'fleet-1', operator: 'bo' })).toBe('fleet-1')
    const taken = { contexts: [{ ...prod, name: 'fleet-3' }] }
    expect(freeName(taken, { cluster: 'fleet-3', operator: 'bo' })).toBe('fleet-3-bo')
  })
})

describe('the commands for contexts', () => {
  const run = (...words: string[]) => fleetcat(words, { home: home.path })

  test('list, use, remove and logout', async () => {
    await rememberContext(prod, { current: true })
    await rememberContext(lab, { current: false })
    const { stdout } = await run('contexts', '-o', 'json')
    expect(JSON.parse(stdout)).toMatchObject({
      kind: 'ContextList',
      items: [
        { ...prod, current: true },
        { ...lab, current: false },
      ],
    })
    expect((await run('contexts', 'use', 'nope')).code).toBe(4)
    expect((await run('contexts', 'use', 'lab')).code).toBe(0)
    expect((await run('contexts', 'remove', 'prod')).code).toBe(0)
    expect((await run('logout')).stdout).toContain('context lab (operator bo) removed')
    expect(await readConfig()).toEqual({ contexts: [] })
  })

  test('a lost key is said, with what to run', async () => {
    await rememberContext(prod, { current: true })
    const { code, stderr } = await run('list')
    expect(code).toBe(3)
    expect(stderr).toContain('fleetcat token create operator --name ana')
    expect(identityDir('prod')).toBe(join(home.path, 'contexts', 'prod'))
  })
})
