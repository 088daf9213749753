import { chmod, chown, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseConfig, readConfig } from '#agent/config.ts'
import type { RelayError } from '#relay/errors.ts'
import { needing } from '../resources/needs.ts'

const refusal = (text: string) => {
  try {
    parseConfig(text)
  } catch (thrown) {
    return (thrown as RelayError).message
  }
  throw new Error('it was accepted')
}

test('each line of the ceiling knows where it stands', () => {
  const config = parseConfig(
    [
      '# the web team',
      'permit:',
      '  - TCP-LISTEN:10.0.0.0/8:8000-8999',
      'forbid: ["TCP:10.66.0.0/16:*"]',
    ].join('\n'),
  )
  expect(config.permit.map(({ text, from }) => [text, from])).toEqual([
    ['TCP-LISTEN:10.0.0.0/8:8000-8999', 'agent.yaml:3'],
  ])
  expect(config.forbid.map(({ text, from }) => [text, from])).toEqual([
    ['TCP:10.66.0.0/16:*', 'agent.yaml:4'],
  ])
})

test('an empty file and empty lists permit nothing more', () => {
  expect(parseConfig('')).toEqual({ permit: [], forbid: [], labels: {} })
  expect(parseConfig('permit:\nforbid:\nlabels:\n')).toEqual({ permit: [], forbid: [], labels: {} })
})

describe('a mistake is refused with its line and what would be right', () => {
  test.each([
    ['permits:\n  - TCP:*:*', 'agent.yaml:1: there is no `permits` in this file. Write `permit:`'],
    ['labels:\n  a: b\ncolour: red', 'agent.yaml:3: there is no `colour` in this file. It may have'],
    ['permit: TCP:*:*', 'agent.yaml:1: `permit:` is not a list'],
    ['permit:\n  - TCP:*:*\n  - 7', 'agent.yaml:3: this pattern is no text'],
    ['labels:\n  rack: 12', 'agent.yaml:2: the value of label `rack` is no text. Put it in quotes'],
    ['labels:\n  host.os: linux', 'agent.yaml:2'],
    ['- TCP:*:*', 'agent.yaml:1: the file is not a list of settings'],
    ['permit:\n  - TCPP:*:*', 'agent.yaml:2'],
    ['permit:\n\n  - TCP-LISTEN:10.0.0.0/8:99999', 'agent.yaml:3'],
    ['permit: [TCP:*:*', 'it is no YAML'],
    ['permit:\n  - TCP:*:*\npermit:\n  - UDP:*:*', 'agent.yaml:3'],
  ])('%j', (text, message) => {
    expect(refusal(text)).toContain(message)
  })

  test('a pattern of an unknown kind names the nearest one', () => {
    expect(refusal('permit:\n  - TCPP:*:*')).toMatch(/TCP/)
  })
})

test('a missing agent.yaml is no configuration, but a file that was named must be there', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fleetcat-'))
  expect(await readConfig({ dataDir: dir.path })).toEqual({ permit: [], forbid: [], labels: {} })
  const named = readConfig({ dataDir: dir.path, configFile: join(dir.path, 'other.yaml') })
  await expect(named).rejects.toThrow(/other\.yaml: no such file/)
  await writeFile(join(dir.path, 'agent.yaml'), 'labels: { rack: "12" }')
  expect((await readConfig({ dataDir: dir.path })).labels).toEqual({ rack: '12' })
})

describe('an agent.yaml that others could have written is refused', () => {
  const scene = async (text = 'permit: []') => {
    const dir = await mkdtempDisposable(join(tmpdir(), 'fleetcat-'))
    const file = join(dir.path, 'agent.yaml')
    await writeFile(file, text, { mode: 0o644 })
    return { dataDir: dir.path, file, [Symbol.asyncDispose]: () => dir.remove() }
  }

  test.each(['664', '646', '666'])('by its mode: %s', async mode => {
    await using here = await scene()
    await chmod(here.file, mode)
    const named = { dataDir: here.dataDir, configFile: here.file }
    for (const options of [here, named])
      await expect(readConfig(options)).rejects.toMatchObject({
        code: 'denied',
        why: expect.stringContaining('others can write to the ceiling'),
        fix: `Run: chmod go-w ${here.file}`,
      })
    await chmod(here.file, 0o644)
    expect(await readConfig(here)).toMatchObject({ permit: [] })
  })

  test('by the mode of the data directory, from which they could remove it', async () => {
    await using here = await scene()
    await chmod(here.dataDir, 0o777)
    await expect(readConfig(here)).rejects.toMatchObject({
      code: 'denied',
      fix: `Run: chmod 700 ${here.dataDir}`,
    })
    expect(await readConfig({ dataDir: here.dataDir, configFile: here.file })).toMatchObject({ permit: [] })
  })

  needing('root')('by its owner', async () => {
    await using here = await scene()
    await chown(here.file, 65_534, 65_534)
    await expect(readConfig(here)).rejects.toMatchObject({
      code: 'denied',
      fix: expect.stringContaining('chown 0'),
    })
  })
})
