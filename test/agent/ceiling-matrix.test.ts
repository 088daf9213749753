import { expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import type { Endpoint } from '#relay/endpoint.ts'
import { bindListen, bindTarget, kinds } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { patternFor } from '#relay/pattern.ts'
import { permit } from './resources.ts'

/** `open`: every host agrees to it. `closed`: only where a line permits it. `never`: no line can. */
type OutOfTheBox = 'open' | 'closed' | 'never'

const ipFamilies = (row: (version: '' | '4' | '6', host: string) => [string, OutOfTheBox][]) => [
  ...row('', '10.0.0.5'),
  ...row('4', '10.0.0.5'),
  ...row('6', '[2001:db8::5]'),
]
const loopback = (version: string) => (version === '6' ? '[::1]' : '127.0.0.1')

/** An address of every kind that can stand at this end, and what a host without a line of its own says to it. */
const targets: readonly (readonly [string, OutOfTheBox])[] = [
  ...ipFamilies((version, host) => [
    [`TCP${version}:${host}:80`, 'open'],
    [`UDP${version}:${host}:53`, 'open'],
    [`UDP${version}-SENDTO:${host}:53`, 'open'],
    [`UDP${version}-DATAGRAM:${host}:53`, 'open'],
  ]),
  ['OPENSSL:10.0.0.5:443', 'open'],
  ['OPENSSL:10.0.0.5:443,cafile=/etc/ssl/ca.pem', 'closed'],
  ['UNIX-CONNECT:/run/app.sock', 'closed'],
  ['UNIX-CLIENT:/run/app.sock', 'closed'],
  ['ABSTRACT-CONNECT:app', 'closed'],
  ['ABSTRACT-CLIENT:app', 'closed'],
  ['SOCKS4:10.0.0.9:10.0.0.5:80', 'closed'],
  ['SOCKS4A:10.0.0.9:example.com:80', 'closed'],
  ['SOCKS5:10.0.0.9:example.com:80', 'closed'],
  ['PROXY:10.0.0.9:example.com:80', 'closed'],
  ['ASKED:10.0.0.5:80', 'closed'],
  ['PTY,link=/run/modem', 'closed'],
  ['SERIAL:/dev/ttyUSB0', 'closed'],
  ['SERIAL-LOG:/dev/ttyUSB0', 'closed'],
  ['RFC2217:10.0.0.5:2001', 'closed'],
  ['EXEC:/usr/bin/uptime', 'closed'],
  ['SYSTEM:uptime', 'closed'],
  ['SHELL:uptime', 'closed'],
  ['OPEN:/var/log/app.log', 'closed'],
  ['OPEN:/var/log/app.log,rdonly', 'closed'],
  ['GOPEN:/var/log/app.log', 'closed'],
  ['CREATE:/var/log/app.log', 'closed'],
  ['PIPE:/run/pipe', 'closed'],
  ['HTTP-FILE:/srv/report.pdf', 'closed'],
  ['SEND:/var/log', 'closed'],
  ['RECEIVE:/srv/in/site', 'closed'],
  ['RECEIVE:/srv/in/site,special-bits', 'closed'],
  ['MEMORY:bus', 'closed'],
  ['BENCH:db-1', 'open'],
  ...['HEALTH', 'STATUS', 'PORTS', 'ECHO', 'DISCARD', 'ZERO', 'CHARGEN', 'TIME', 'PIPE'].map(
    keyword => [keyword, 'open'] as const,
  ),
  ...['STDIO', 'STDIN', 'STDOUT', 'STDERR', 'FD:3', 'READLINE'].map(text => [text, 'never'] as const),
]

const listeners: readonly (readonly [string, OutOfTheBox])[] = [
  ...ipFamilies((version, host) => [
    [`TCP${version}-LISTEN:8080,bind=${loopback(version)}`, 'open'],
    [`TCP${version}-LISTEN:8080,bind=${host}`, 'closed'],
    [`TCP${version}-LISTEN:8080`, 'closed'],
    [`UDP${version}-LISTEN:8080,bind=${loopback(version)}`, 'open'],
    [`UDP${version}-LISTEN:8080`, 'closed'],
    [`UDP${version}-RECV:8080,bind=${loopback(version)}`, 'open'],
    [`UDP${version}-RECV:8080`, 'closed'],
    [`UDP${version}-RECVFROM:8080,bind=${loopback(version)}`, 'open'],
    [`UDP${version}-RECVFROM:8080`, 'closed'],
  ]),
  ['OPENSSL-LISTEN:8443,bind=127.0.0.1,cert=/etc/ssl/web.pem,verify=0', 'closed'],
  ['OPENSSL-LISTEN:8443,cert=/etc/ssl/web.pem,verify=0', 'closed'],
  ['SOCKS-LISTEN:1080,bind=127.0.0.1', 'open'],
  ['SOCKS-LISTEN:1080', 'closed'],
  ['RFC2217-LISTEN:2001,bind=127.0.0.1', 'open'],
  ['RFC2217-LISTEN:2001', 'closed'],
  ['UNIX-LISTEN:/run/app.sock', 'closed'],
  ['UNIX-LISTEN:/run/app.sock,mode=666', 'closed'],
  ['ABSTRACT-LISTEN:app', 'closed'],
  ['MEMORY-LISTEN:bus', 'closed'],
  ['PTY,link=/run/modem', 'closed'],
  ['SERIAL:/dev/ttyUSB0', 'closed'],
]

test('the matrix has every kind', () => {
  const shown = [...targets, ...listeners].map(([text]) => text.split(/[:,]/)[0])
  expect(kinds.map(({ keyword }) => keyword).filter(keyword => !shown.includes(keyword))).toEqual([])
})

interface End {
  readonly bind: (text: string) => Endpoint
  readonly check: 'checkTarget' | 'checkListen'
}
const ends: Record<string, End> = {
  target: { bind: bindTarget, check: 'checkTarget' },
  listener: { bind: bindListen, check: 'checkListen' },
}

function refusal({ bind, check }: End, text: string, lines: string[], forbid: string[] = []) {
  try {
    const ceiling = openCeiling({ permit: permit(...lines), forbid: permit(...forbid) })
    const endpoint = bind(text)
    ceiling[check](endpoint)
    // What clients ask for is judged when they do.
    for (const scope of endpoint.goesWhereAsked ?? []) ceiling.check(scope, scope.args[0])
    return undefined
  } catch (thrown) {
    expect(thrown).toMatchObject({ name: 'RelayError', code: 'denied' })
    return thrown as RelayError
  }
}

/** Adds the lines that the refusals print until there is none left, as a host's owner would. */
function permitting(end: End, text: string): string[] {
  const lines: string[] = []
  for (let round = 0; round < 5; round++) {
    const why = refusal(end, text, lines)
    if (!why) return lines
    const printed = [...why.fix.matchAll(/add "([^"]+)"/g)].map(([, line = '']) => line)
    expect(printed, why.message).not.toEqual([])
    lines.push(...printed)
  }
  throw new Error(`${text} is still refused with ${lines.join(' and ')}`)
}

for (const [name, rows] of Object.entries({ target: targets, listener: listeners })) {
  const end = ends[name]!

  test.each(rows)(`${name} %s is %s out of the box`, (text, outOfTheBox) => {
    expect(refusal(end, text, []) === undefined).toBe(outOfTheBox === 'open')
  })

  test.each(rows.filter(([, state]) => state === 'closed'))(
    `${name} %s is opened by exactly the lines that its refusals print`,
    text => {
      const lines = permitting(end, text)
      expect(lines).not.toEqual([])
      for (const missing of lines) {
        const others = lines.filter(line => line !== missing)
        expect(refusal(end, text, others), `without ${missing}`).toBeDefined()
      }
    },
  )

  test.each(rows.filter(([, state]) => state !== 'never'))(
    `${name} %s is closed by a line that forbids it, whatever permits it`,
    text => {
      const { scope, halves = [] } = end.bind(text)
      expect(halves).toEqual([])
      const lines = permitting(end, text)
      expect(refusal(end, text, lines, [patternFor(scope)])?.message).toContain('forbid')
    },
  )

  test.each(rows.filter(([, state]) => state === 'never'))(`${name} %s is opened by no line`, text => {
    const why = refusal(end, text, [])
    expect(why?.fix).not.toContain('add "')
    expect(why?.fix).toContain('fleetcat socat')
  })
}
