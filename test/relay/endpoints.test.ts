import { describe, expect, test } from 'vitest'
import { bindAddress, bindListen, bindTarget, kindOf, kinds } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'

const refusal = (act: () => unknown): RelayError => {
  try {
    act()
  } catch (error) {
    if (error instanceof RelayError) return error
    throw error
  }
  throw new Error('it was accepted')
}

test('a relay from a socat manual is accepted as it stands', () => {
  const listener = bindListen(
    'TCP4-LISTEN:8080,bind=127.0.0.1,reuseaddr,fork,backlog=128,keepalive,nodelay,range=127.0.0.1/32',
  )
  expect(listener.acceptor).toBeDefined()
  expect(listener.scope).toMatchObject({ keyword: 'TCP4-LISTEN', args: ['127.0.0.1', '8080'] })
  const target = bindTarget('TCP4:example:80,connect-timeout=5')
  expect(target.halves).toBeUndefined()
  expect(target.dialer).toBeDefined()
  expect(target.scope).toMatchObject({ keyword: 'TCP4', args: ['example', '80'] })
})

test.each([
  ['tcp', 'TCP'],
  ['TCP4-CONNECT', 'TCP4'],
  ['TCP-L', 'TCP-LISTEN'],
  ['tcp6-l', 'TCP6-LISTEN'],
  ['INET4-L', 'TCP4-LISTEN'],
  ['inet', 'TCP'],
])('%s is another name of %s', (alias, keyword) => {
  expect(kindOf(alias)?.keyword).toBe(keyword)
})

test('every row of the table is described, and its syntax starts with its keyword', () => {
  for (const kind of kinds) {
    expect(kind.summary).not.toBe('')
    expect(kind.syntax.startsWith(kind.keyword)).toBe(true)
    for (const { options } of kind.groups) {
      for (const { name, aliases, summary } of Object.values(options)) {
        expect(summary, name).not.toBe('')
        for (const spelling of [name, ...aliases]) expect(spelling).toMatch(/^[a-z0-9][a-z0-9-]*$/)
      }
    }
    const spellings = kind.groups.flatMap(group =>
      Object.values(group.options).flatMap(o => [o.name, ...o.aliases]),
    )
    expect(new Set(spellings).size, kind.keyword).toBe(spellings.length)
  }
})

test('an address on another host is validated here and dialled elsewhere', () => {
  const { dialer, scope } = bindTarget('@db-1/TCP4:127.0.0.1:5432')
  expect(dialer).toBeUndefined()
  expect(scope).toMatchObject({ host: 'db-1', keyword: 'TCP4', args: ['127.0.0.1', '5432'] })
  expect(() => bindTarget('@db-1/TCP4:127.0.0.1')).toThrow(RelayError)
})

test('a dual target has two halves', () => {
  const { halves } = bindTarget('TCP:a:1!!TCP:b:2')
  expect(halves?.map(({ scope }) => scope.args)).toEqual([
    ['a', '1'],
    ['b', '2'],
  ])
})

describe('refusals', () => {
  test.each<[(text: string) => unknown, string, string, string]>([
    [
      bindListen,
      'TCP4:a:80',
      'usage',
      'address `TCP4:a:80`: TCP4 connects; it cannot wait for connections. Start the relay with a listening address, e.g. `TCP4-LISTEN:<port>`',
    ],
    [
      bindTarget,
      'TCP4-L:80,fork',
      'usage',
      "address `TCP4-L:80,fork`: TCP4-LISTEN waits for connections; a target is connected to. Write `TCP4:<host>:<port>`, or make it the relay's first address",
    ],
    [
      bindListen,
      '@edge-1/TCP4-LISTEN:80',
      'usage',
      'address `@edge-1/TCP4-LISTEN:80`: a relay listens on the agents it is created on. Leave out `@edge-1/` and add `--on edge-1`',
    ],
    [
      bindListen,
      'TCP4-LISEN:80',
      'usage',
      'address `TCP4-LISEN:80`: there is no kind of address called `TCP4-LISEN`. Did you mean `TCP4-LISTEN`?',
    ],
    [
      bindTarget,
      'SCTP:a:80',
      'unsupported',
      'address `SCTP:a:80`: fleetcat does not have the kind SCTP. Node opens TCP, UDP and Unix sockets only. Use TCP, UDP or a Unix socket',
    ],
    [
      bindTarget,
      'TCP4:a:80,fork',
      'usage',
      'address `TCP4:a:80,fork`: `fork` makes one connection after the other, and a target is connected to once for each client. Leave out `fork`',
    ],
    [
      bindListen,
      'TCP4-LISTEN:80,fork,su=nobody',
      'unsupported',
      'address `TCP4-LISTEN:80,fork,su=nobody`, character 21: option `su` is not supported. relays share the process of their agent. Start the agent as the user that they shall have',
    ],
  ])('%o %s', (bind, text, code, message) => {
    expect(refusal(() => bind(text))).toMatchObject({ code, message })
  })

  test('an option of another kind is named with its owner', () => {
    expect(refusal(() => bindListen('TCP-LISTEN:80,cert=a.pem')).why).toMatch(
      /^option `cert` is not one of TCP-LISTEN; .*OPENSSL-LISTEN ha/,
    )
  })

  test.each([
    'TCP',
    'TCP:a',
    'TCP:a:99999',
    'TCP:a:0',
    'TCP::80',
    'TCP:a:b:c',
    'TCP-LISTEN',
    'TCP-LISTEN:',
    'TCP4:[::1]:80',
  ])('%s', text => {
    expect(refusal(() => bindAddress(text)).code).toBe('usage')
  })
})
