import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { version } from '#wire/version.ts'
import { reasonFor } from './socat-compat-reasons.ts'

// Makes docs/compatibility.md of the logs that socat-compat.sh leaves: those of the real socat, and those of ours.
interface Result {
  readonly number: number
  readonly name: string
  readonly outcome: 'ok' | 'failed' | 'not performed'
}

const [work = '', only] = process.argv.slice(2)
const theirs = resultsOf('socat')
const ours = resultsOf('fleetcat')
const passedByBoth = theirs.filter(
  ({ number, outcome }) => outcome === 'ok' && oursOf(number)?.outcome === 'ok',
)
const failed = theirs.filter(({ number, outcome }) => outcome === 'ok' && oursOf(number)?.outcome !== 'ok')
process.stdout.write(only === '--failed' ? failed.map(({ number }) => `${number}\n`).join('') : page())

function oursOf(wanted: number): Result | undefined {
  const runs = ours.filter(({ number }) => number === wanted)
  return runs.find(({ outcome }) => outcome === 'ok') ?? runs[0]
}

/** Of the pieces that all tests were run in, and of the one of tests that were run again. */
function resultsOf(label: string): Result[] {
  return readdirSync(work)
    .filter(name => new RegExp(`^${label}-(\\d+|again)$`).test(name))
    .flatMap(name => parse(readFileSync(join(work, name, 'log'), 'latin1')))
    .sort((a, b) => a.number - b.number)
}

/** Each test begins a line, and ends with a verdict there or, if something was said in between, on a line of its own. */
function parse(log: string): Result[] {
  const tests = log
    .replaceAll('\r', '')
    .replace(/^Used temp directory[\s\S]*/m, '')
    .matchAll(/^test +(\d+) (\S+?):? (.*?)(?=^test +\d+ |(?![\s\S]))/gms)
  return [...tests].map(([, number, name = '', rest = '']) => ({
    number: Number(number),
    name,
    outcome: verdict(rest),
  }))
}

function verdict(said: string): Result['outcome'] {
  const after = said.slice(said.indexOf('... ') + 4)
  if (/FAILED/.test(after)) return 'failed'
  return /^OK\b|OK$/m.test(after) ? 'ok' : 'not performed'
}

function page(): string {
  const groups = Map.groupBy(failed, ({ name }) => reasonFor(name))
  const total = theirs.filter(({ outcome }) => outcome === 'ok').length
  const rows = [...groups]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([reason, tests]) => `| ${reason} | ${tests.length} | ${list(tests)} |`)
  return `# Held against socat's own tests

\`scripts/socat-compat.sh\` runs \`test.sh\`, the regression script of socat ${socatVersion()}, first with the real socat and then
with \`fleetcat socat\`, and writes this page. What counts are the tests that the real one passes on the same machine:
others say nothing about us. A test that fails is run once more, alone, for some of them race against the clock.

**fleetcat ${version} passes ${passedByBoth.length} of the ${total}.** Of the ${theirs.length} tests of the script the real socat passes ${total} here; the rest need
what this machine does not have (SCTP, VSOCK, hosts of the internet), or fail with the real one too.

Run on ${new Date().toISOString().slice(0, 10)}: ${machine()}.
The waits of the script were lengthened (\`-t 0.5\`), for a process of Node takes a tenth of a second to start.

## What does not pass, and why

| reason | tests | which |
|---|---|---|
${rows.join('\n')}

## What passes

${list(passedByBoth)}
`
}

function list(tests: readonly Result[]): string {
  return tests.map(({ number, name }) => `${name} (${number})`).join(', ')
}

function socatVersion(): string {
  return (
    /socat version (\S+)/.exec(execFileSync('socat', ['-V'], { encoding: 'utf8' }))?.[1] ??
    'of unknown version'
  )
}

function machine(): string {
  const system = execFileSync('uname', ['-sr'], { encoding: 'utf8' }).trim()
  const debian =
    /PRETTY_NAME="(.*)"/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'an unknown system'
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${debian}, ${system}, ${cpus().length} processors, ${memory} GiB of memory, Node ${process.versions.node}`
}
