import { join } from 'node:path'
import { launcher, type Program, startProgram } from '#test/resources/program.ts'
import { type FakePort, openFakePort, openLoop } from '#test/resources/serial/cables.ts'
import { type FakeLine, type FakeLines, openFakeLines } from '#test/resources/serial/lines.ts'
import { openScreen, type Screen } from '#test/resources/tmux.ts'
import { type Fleet, openFleet } from './fleet.ts'

/** A fleet with a host `lab-1` that has a serial port, and whoever uses it from elsewhere. */
export interface Lab extends AsyncDisposable {
  readonly fleet: Fleet
  readonly controller: Program
  readonly agent: Program
  /** Anew, after it has ended. */
  startAgent(): Promise<Program>
  readonly port: FakePort
  readonly line: FakeLine
  readonly lines: FakeLines
  /** `@lab-1//dev/pts/7` */
  readonly place: string
  /** What the device has been sent so far. */
  received(): string
  /** The home of another operator, or of somebody in another role, who has logged in. */
  operator(name: string, role?: string): Promise<string>
  /** A terminal of somebody with this home; of the admin, if nothing is said. */
  screen(home?: string): Promise<Screen>
  /** A program of somebody who has the fleet at hand. */
  start(words: readonly string[], options?: { readonly input?: string; readonly home?: string }): Program
}

export interface LabOptions {
  /** What is written to the port comes back, and its control lines lead to its inputs. */
  readonly loop?: boolean
  readonly permit?: readonly string[]
  /** Of the path of the port: see `AgentStart`. */
  readonly within?: (port: string) => Promise<readonly string[]>
}

export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const { permit = ['SERIAL:/dev/pts/*'], within, loop = false } = options
  await using opening = new AsyncDisposableStack()
  const lines = opening.use(await openFakeLines())
  const port = opening.use(await (loop ? openLoop() : openFakePort()))
  const line = lines.add(port.path, loop ? 'loopback' : 'nowhere')
  const fleet = opening.use(await openFleet())
  const controller = await fleet.startController()
  const place = (await within?.(port.path)) ?? []
  const args = permit.flatMap(line => ['--permit', line])
  const startAgent = () => fleet.startAgent('lab-1', { args, env: lines.env, within: place })
  const agent = await startAgent()
  let heard = ''
  port.far.on('data', bytes => {
    heard += bytes.toString('latin1')
  })
  const admin = join(fleet.folder, 'home')
  const held = opening.move()
  return {
    fleet,
    controller,
    agent,
    startAgent,
    port,
    line,
    lines,
    place: `@lab-1/${port.path}`,
    received: () => heard,
    async operator(name, role = 'operator') {
      const home = join(fleet.folder, name)
      const { token } = await fleet.json(['token', 'create', 'operator', '--name', name, '--role', role])
      const { code, stderr } = await startProgram([launcher, 'login', token], {
        env: { FLEETCAT_HOME: home },
      }).ended
      if (code !== 0) throw new Error(stderr)
      return home
    },
    screen: async (home = admin) => {
      const { PATH = '' } = process.env
      return held.use(
        await openScreen({ FLEETCAT_HOME: home, PATH: `${join(launcher, '..')}:${PATH}`, NO_COLOR: '1' }),
      )
    },
    start: (words, { input, home = admin } = {}) =>
      held.use(startProgram(words, { env: { FLEETCAT_HOME: home }, ...(input !== undefined && { input }) })),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
