import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openFolder } from '../resources/folder.ts'
import { needing } from '../resources/needs.ts'
import { launcher, root, run, startProgram } from '../resources/program.ts'
import { until } from '../resources/until.ts'

const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The commands of one section, without their comments. */
function commandsOf(section: string): string[] {
  const text = readme.slice(readme.indexOf(`## ${section}\n`))
  return [...text.slice(0, text.indexOf('\n### ')).matchAll(/```\n([^`]*)```/g)].flatMap(([, block = '']) =>
    block.split('\n').flatMap(line => line.replace(/\s+#.*$/, '').trim() || []),
  )
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

needing('curl', 'python3', 'bash')(
  'the sixty seconds of the README work as they are printed',
  async () => {
    await using folder = await openFolder()
    const env = { FLEETCAT_HOME: join(folder.path, 'home') }
    await using _up = startProgram([launcher, 'up', '--listen', '127.0.0.1:0'], { env })
    await until(
      'it is up',
      async () => (await run([launcher, 'status', '--wait', '10s'], { env })).code === 0,
    )
    const ports = { 8000: await freePort(), 8080: await freePort() }

    const commands = commandsOf('Sixty seconds')
    expect(commands[0]).toBe('npm start')
    await using shell = startProgram(['bash', '-e', '-o', 'pipefail'], {
      env,
      cwd: root,
      input: commands
        .slice(1)
        // Others may have these ports; and a watch is left by hand.
        .map(line => line.replace(/\b(8000|8080)\b/g, port => String(ports[Number(port) as 8000 | 8080])))
        .map(line => (/ -w$/.test(line) ? `timeout --foreground -s INT 2 ${line} || [ $? -eq 124 ]` : line))
        .flatMap(line =>
          / &$/.test(line)
            ? [line, `until curl -s -o ${folder.path}/index http://127.0.0.1:${ports[8000]}/; do :; done`]
            : line,
        )
        .concat('kill %1')
        .join('\n'),
    })
    const { code, stdout, stderr } = await shell.ended
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toMatch(/HTTP\/1.0 200 OK/)
    expect(stdout).toMatch(/web +1\/1 .* ready/)
    expect(stdout).toMatch(/local +cut/)
  },
  60_000,
)
