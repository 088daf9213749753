import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { commands } from '#cli/commands.ts'
import { fleetcat, temporary } from './running.ts'

const bin = dirname(fileURLToPath(new URL('../../fleetcat', import.meta.url)))

let scratch: Awaited<ReturnType<typeof temporary>>
let script: string
beforeAll(async () => {
  scratch = await temporary()
  script = join(scratch.path, 'completion.bash')
  const { stdout, code } = await fleetcat(['completion', 'bash'])
  expect(code).toBe(0)
  await writeFile(script, stdout)
  await writeFile(join(scratch.path, 'relays.yaml'), '')
  const contexts = ['prod', 'lab'].map(name => ({
    name,
    cluster: name,
    addresses: ['127.0.0.1:1'],
    operator: 'ana',
  }))
  await writeFile(join(scratch.path, 'config.yaml'), JSON.stringify({ contexts }))
})
afterAll(() => scratch[Symbol.asyncDispose]())

/** What a real bash offers once `line` has been typed. */
async function offered(line: string, breaks = ' =:'): Promise<string[]> {
  const program = `source "$1"; COMP_WORDBREAKS=$3; COMP_LINE=$2; COMP_POINT=\${#2}; _fleetcat 2>&1; printf '%s\\n' "\${COMPREPLY[@]}"`
  const child = spawn('bash', ['--norc', '-c', program, 'bash', script, line, breaks], {
    cwd: scratch.path,
    env: { PATH: `${bin}:${process.env.PATH}`, FLEETCAT_HOME: scratch.path, HOME: scratch.path },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  return output.split('\n').filter(word => word !== '' && !word.includes('compopt'))
}

describe('in bash', () => {
  test('the commands, all of them', async () => {
    expect((await offered('fleetcat ')).sort()).toEqual(commands.map(({ name }) => name).sort())
    expect(await offered('fleetcat conn')).toEqual(['connections'])
  })

  test('the options of a command, and the values of an option', async () => {
    expect(await offered('fleetcat list --s')).toEqual(['--selector'])
    expect(await offered('fleetcat list -o js')).toEqual(['json', 'jsonl'])
    expect(await offered('fleetcat list -l x -o ya')).toEqual(['yaml'])
    expect(await offered('fleetcat list -o ')).toEqual(['table', 'wide', 'json', 'jsonl', 'yaml', 'name'])
    expect(await offered('fleetcat list --output=js')).toEqual(['json', 'jsonl'])
    expect(await offered('fleetcat list --output=')).toHaveLength(6)
    expect(await offered('fleetcat list --output=ya', ' ')).toEqual(['--output=yaml'])
    expect(await offered('fleetcat list --watch=')).toEqual([])
    expect(await offered('fleetcat wait relay/a --for re')).toEqual(['ready', 'revoked'])
  })

  test('commands below a command, and their arguments', async () => {
    expect(await offered('fleetcat token ')).toEqual(['create', 'list', 'revoke'])
    expect(await offered('fleetcat token create a')).toEqual(['agent'])
    expect(await offered('fleetcat token create operator --role v')).toEqual(['viewer'])
  })

  test('names that only this host or this fleet knows', async () => {
    expect(await offered('fleetcat contexts use p')).toEqual(['prod'])
    expect(await offered('fleetcat list --context ')).toEqual(['prod', 'lab'])
    expect(await offered('fleetcat create web TCP4-L')).toEqual(['TCP4-LISTEN'])
    expect(await offered('fleetcat create web TCP4-LISTEN:8080,fork TCP4:a:1 TCP6-')).toEqual(['TCP6-LISTEN'])
  })

  test('files where a file belongs', async () => {
    expect(await offered('fleetcat apply -f rel')).toEqual(['relays.yaml'])
  })

  test('nothing where nobody can know, or nobody answers', async () => {
    expect(await offered('fleetcat list -l ')).toEqual([])
    expect(await offered('fleetcat describe --context prod ')).toEqual([])
  })
})

describe.each(['zsh', 'fish'])('for %s', shell => {
  test('every command and option is in the script', async () => {
    const { stdout, code } = await fleetcat(['completion', shell])
    expect(code).toBe(0)
    for (const { name } of commands) expect(stdout).toContain(`'${name}'`)
    for (const option of ['max-connection-age', 'token-file', 'prune']) expect(stdout).toContain(option)
  })
})
