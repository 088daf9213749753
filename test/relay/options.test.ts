import { describe, expect, test } from 'vitest'
import { parseAddress } from '#relay/address.ts'
import { RelayError } from '#relay/errors.ts'
import {
  connectOptions,
  listenOptions,
  privilegeOptions,
  retryOptions,
  socketOptions,
} from '#relay/option-groups.ts'
import { readOptions } from '#relay/options.ts'

const listen = [socketOptions, listenOptions, retryOptions, privilegeOptions] as const
const connect = [socketOptions, connectOptions, retryOptions] as const

const listening = (options: string) => readOptions(parseAddress(`TCP4-LISTEN:1,${options}`), listen)
const connecting = (options: string) => readOptions(parseAddress(`TCP4:a:1,${options}`), connect)

const refusal = (act: () => unknown): RelayError => {
  try {
    act()
  } catch (error) {
    if (error instanceof RelayError) return error
    throw error
  }
  throw new Error('it was accepted')
}

test('a line from a socat manual is understood', () => {
  const line = 'bind=127.0.0.1,reuseaddr,fork,backlog=128,keepalive,nodelay,range=127.0.0.1/32'
  expect(listening(line)).toMatchObject({
    bind: '127.0.0.1',
    reuseaddr: true,
    fork: true,
    backlog: 128,
    keepalive: true,
    nodelay: true,
    range: [{ text: '127.0.0.1/32' }],
  })
  expect(connecting('connect-timeout=5')).toEqual({ connectTimeout: 5_000 })
})

test("socat's aliases mean the same options", () => {
  expect(
    connecting(
      'so-keepalive,tcp-keepidle=30,tcp-keepintvl=5,tcp-keepcnt=3,tcp-nodelay=0,sp=4000,ip-tos=0x10',
    ),
  ).toEqual({
    keepalive: true,
    keepidle: 30_000,
    keepintvl: 5_000,
    keepcnt: 3,
    nodelay: false,
    sourceport: 4_000,
    tos: 16,
  })
  expect(listening('so-reuseport,ipv6-v6only=1,protocol-family=ip6')).toEqual({
    reuseport: true,
    ipv6only: true,
    pf: 6,
  })
})

test.each([
  ['5', 5_000],
  ['0.5', 500],
  ['.25', 250],
  ['5s', 5_000],
  ['500ms', 500],
  ['2m', 120_000],
  ['1h', 3_600_000],
  ['1D', 86_400_000],
])('connect-timeout=%s is %i ms', (text, ms) => {
  expect(connecting(`connect-timeout=${text}`)).toEqual({ connectTimeout: ms })
})

test('networks come one by one or as a list', () => {
  const texts = (options: string) => listening(options).allow?.map(({ text }) => text)
  expect(texts('allow=10.0.0.0/8')).toEqual(['10.0.0.0/8'])
  expect(texts('allow=10.0.0.0:255.0.0.0')).toEqual(['10.0.0.0/8'])
  expect(texts('allow=(10.0.0.0/8,[::1]/128)')).toEqual(['10.0.0.0/8', '::1/128'])
  expect(texts('allow=10.0.0.0/8;192.168.1.1')).toEqual(['10.0.0.0/8', '192.168.1.1/32'])
})

describe('refusals', () => {
  test.each([
    ['frok', 'character 15: option `frok` is not one of TCP4-LISTEN. Did you mean `fork`?'],
    ['fork,fork', 'character 20: option `fork` is given twice. Keep one of them'],
    [
      'keepalive,so-keepalive',
      'character 25: option `keepalive` is given twice, as `keepalive` and as `so-keepalive`. Keep one of them',
    ],
    ['bind', 'character 15: `bind`: it needs a value. Write e.g. `bind=127.0.0.1`'],
    ['fork=yes', 'character 15: `fork=yes`: it is a flag. Write `fork`, `fork=1` or `fork=0`'],
    [
      'backlog=0',
      'character 15: `backlog=0`: it must be a whole number from 1 to 65535. Write e.g. `backlog=16`',
    ],
    [
      'accept-timeout=soon',
      'character 15: `accept-timeout=soon`: it is not a duration. Write seconds, e.g. `accept-timeout=5`, or `accept-timeout=2m`',
    ],
    [
      'keepidle=0.5',
      'character 15: `keepidle=0.5`: it is shorter than 1000 ms. Write seconds, e.g. `keepidle=5`, or `keepidle=2m`',
    ],
    [
      'keepidle=10h',
      'character 15: `keepidle=10h`: it is longer than 32767 s. Write seconds, e.g. `keepidle=5`, or `keepidle=2m`',
    ],
    [
      'range=10.0.0.1/8',
      'character 15: `range=10.0.0.1/8`: `10.0.0.1/8`: it has bits set beyond its prefix length. Write `10.0.0.0/8` for the network, or `10.0.0.1/32` for the one host',
    ],
    [
      'bind=a..b',
      'character 15: `bind=a..b`: it is neither an IP address nor a host name. Write e.g. `bind=127.0.0.1` or `bind=[::1]`',
    ],
    [
      'reuseaddr=0',
      'character 15: `reuseaddr=0`: Node always sets SO_REUSEADDR on TCP sockets, and it cannot be switched off. Write `reuseaddr`, or leave it out',
    ],
  ])('%s', (options, message) => {
    const error = refusal(() => listening(options))
    expect(error.code).toBe('usage')
    expect(error.message).toBe(`address \`TCP4-LISTEN:1,${options}\`, ${message}`)
  })

  test.each([
    ['tcp-quickack', 'tcp-quickack', 'the kernel forgets it after a few segments'],
    ['tcpwrap=x', 'tcpwrap', 'Write the networks as `allow=` and `deny=`'],
    ['su=nobody', 'su', 'Start the agent as the user that they shall have'],
  ])('%s cannot be had, and the refusal says why', (options, name, advice) => {
    const error = refusal(() => listening(options))
    expect(error.code).toBe('unsupported')
    expect(error.why).toBe(`option \`${name}\` is not supported`)
    expect(error.fix).toContain(advice)
  })
})
