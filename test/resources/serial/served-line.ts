import { launcher, type Program, startProgram } from '#test/resources/program.ts'
import { type FakePort, openFakePort, openLoop } from './cables.ts'
import { type FakeLine, type FakeLines, openFakeLines, type Wires } from './lines.ts'

/** What `fleetcat socat` serves with RFC2217-LISTEN: a pseudo-terminal with modem lines, for peers that are real. */
export interface ServedLine extends AsyncDisposable {
  readonly port: number
  readonly device: FakePort
  readonly line: FakeLine
  readonly lines: FakeLines
  readonly program: Program
}

/** `loopback`: what is written comes back, and the control lines lead to the inputs. */
export async function openServedLine(wires: Wires = 'loopback', options = ''): Promise<ServedLine> {
  await using opening = new AsyncDisposableStack()
  const lines = opening.use(await openFakeLines())
  const device = opening.use(await (wires === 'loopback' ? openLoop() : openFakePort()))
  const line = lines.add(device.path, wires)
  const addresses = ['RFC2217-LISTEN:0,bind=127.0.0.1,fork', `SERIAL:${device.path}${options}`]
  const program = opening.use(startProgram([launcher, 'socat', '-d', '-d', ...addresses], { env: lines.env }))
  const [, port] = await program.says(/listening on AF=2 127\.0\.0\.1:(\d+)/)
  const held = opening.move()
  return {
    port: Number(port),
    device,
    line,
    lines,
    program,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
