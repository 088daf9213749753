import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { kernelSockets } from '#test/resources/kernel-sockets.ts'
import { freePort } from '#test/resources/ports.ts'
import { type Program, startProgram } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { until } from '#test/resources/until.ts'
import { type FakePort, openLoop } from './cables.ts'
import { type FakeLine, type FakeLines, openFakeLines } from './lines.ts'

/** The one that Debian's packages of Python belong to, whatever else is first in the path. */
export const python = '/usr/bin/python3'

/** A serial line that another program serves, and its own words for it. What is written to it comes back. */
export interface ForeignPort extends AsyncDisposable {
  readonly port: number
  readonly device: FakePort
  readonly line: FakeLine
  readonly lines: FakeLines
  readonly program: Program
}

async function openForeign(
  start: (device: FakePort, env: Record<string, string>) => Promise<{ program: Program; port: number }>,
): Promise<ForeignPort> {
  await using opening = new AsyncDisposableStack()
  const lines = opening.use(await openFakeLines())
  const device = opening.use(await openLoop())
  const line = lines.add(device.path, 'loopback')
  const { program, port } = await start(device, lines.env)
  opening.use(program)
  const held = opening.move()
  return { port, device, line, lines, program, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** Served by ser2net, at 9600 8N1 until somebody sets it. */
export const openSer2net = () =>
  openForeign(async ({ path }, env) => {
    await using scratch = await openScratch()
    const port = await freePort()
    const file = join(scratch.path, 'ser2net.yaml')
    const accepter = `telnet(rfc2217),tcp,127.0.0.1,${port}`
    await writeFile(
      file,
      `%YAML 1.1\n---\nconnection: &lab\n  accepter: ${accepter}\n  connector: serialdev,${path},9600n81,local\n`,
    )
    const program = startProgram(['ser2net', '-n', '-d', '-c', file], { env })
    await until('it listens', () => kernelSockets(program.pid).some(({ listens }) => listens))
    return { program, port }
  })

/** Served by pyserial's own half of RFC 2217, to one client. */
export const openPyserial = () =>
  openForeign(async ({ path }, env) => {
    const script = join(import.meta.dirname, '../../relay/programs/pyserial-server.py')
    const program = startProgram([python, '-W', 'ignore', script, path], { env })
    const [, port] = await program.says(/listening on (\d+)/)
    return { program, port: Number(port) }
  })
