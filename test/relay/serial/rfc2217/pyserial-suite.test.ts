import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openSer2net, python } from '#test/resources/serial/foreign-port.ts'
import { openServedLine } from '#test/resources/serial/served-line.ts'

/** Those that open a port. `test_asyncio` has no tests where `serial.aio` is not installed. */
const modules = [
  ...[
    'test',
    'test_advanced',
    'test_cancel',
    'test_context',
    'test_exclusive',
    'test_high_load',
    'test_iolib',
  ],
  ...['test_readline', 'test_rs485', 'test_settings_dict', 'test_threaded'],
]

/** What no server can make pass, for it is in pyserial's client (`serial/rfc2217.py` of 3.5), and how it shows. */
const knownToFail: Readonly<Record<string, RegExp>> = {
  // With `timeout=0` its read() gives one byte, however many are there: a timeout of nothing is over after the first.
  'test.Test4_Nonblocking.test2_Loopback': /^AssertionError: b'\\x00' != b'\\x00\\x01/,
  'test.Test4_Nonblocking.test2_LoopbackTimeout': /^AssertionError: b'H' != b'HELLO'/,
  'test.Test_MoreTimeouts.test_WriteTimeout': /^NotImplementedError: write_timeout/,
  'test_cancel.TestCancelRead.test_cancel_once': /has no cancel_read$/,
  'test_cancel.TestCancelWrite.test_cancel_once': /has no cancel_write$/,
}

interface Ended {
  readonly test: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  readonly why?: string
}

type Open = () => Promise<AsyncDisposable & { readonly port: number }>

/** Runs the suite on the lines of so many servers at a time. */
async function suiteOn(open: Open, servers: number, only: readonly string[] = []): Promise<Ended[]> {
  await using held = new AsyncDisposableStack()
  const lines = await Promise.all(Array.from({ length: servers }, () => open()))
  for (const line of lines) held.use(line)
  const { stdout, stderr } = await run([
    ...[python, '-W', 'ignore', join(import.meta.dirname, '../../programs/pyserial-suite.py')],
    join(process.env.FLEETCAT_PYSERIAL_SOURCE ?? 'FLEETCAT_PYSERIAL_SOURCE is not set', 'test'),
    modules.join(','),
    only.join(','),
    ...lines.map(({ port }) => `rfc2217://127.0.0.1:${port}`),
  ])
  if (!stdout) throw new Error(stderr)
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Ended)
}

const failsUnexpectedly = ({ test, outcome, why = '' }: Ended) =>
  outcome === 'failed' && !knownToFail[test]?.test(why)

/** Some race against the clock, and lose where much else is going on: they are tried again, alone. */
async function suiteWithPatience(open: Open): Promise<Ended[]> {
  let ended = await suiteOn(open, 3)
  for (let times = 0; times < 3 && ended.some(failsUnexpectedly); times++) {
    const again = ended.filter(failsUnexpectedly).map(({ test }) => test)
    ended = [...ended.filter(each => !failsUnexpectedly(each)), ...(await suiteOn(open, 1, again))]
  }
  return ended
}

needing(
  'cc',
  python,
  'pyserial-ports',
  'ser2net',
  '$FLEETCAT_PYSERIAL_SOURCE',
)(
  "of pyserial's own tests all that pass against ser2net pass, and all that its client has a chance to pass",
  async () => {
    const [ours, theirs] = await Promise.all([suiteWithPatience(openServedLine), suiteOn(openSer2net, 3)])
    expect(ours.filter(failsUnexpectedly)).toEqual([])
    const passed = (ended: Ended[]) =>
      ended.flatMap(({ test, outcome }) => (outcome === 'passed' ? test : []))
    expect(passed(ours)).toEqual(expect.arrayContaining(passed(theirs)))
    expect(passed(ours).length).toBeGreaterThan(30)
  },
  120_000,
)
