import { describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { parseConfig } from '#agent/config.ts'
import { guardEgress, openEgress } from '#relay/egress.ts'
import type { EgressPolicy } from '#relay/endpoint.ts'
import { bindListen, bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openServer } from '#test/resources/servers.ts'
import { forbid, permit } from './resources.ts'

const ceiling = (lines: readonly string[] = [], forbidden: readonly string[] = []) =>
  openCeiling({ permit: permit(...lines), forbid: forbid(...forbidden) })

/** The message of the refusal; undefined if it is permitted. */
function refusal(text: string, lines: readonly string[] = [], forbidden: readonly string[] = []) {
  try {
    ceiling(lines, forbidden).checkTarget(bindTarget(text))
  } catch (thrown) {
    expect((thrown as RelayError).code).toBe('denied')
    return (thrown as RelayError).message
  }
  return undefined
}

const any = ['SOCKS4:*:*:*', 'SOCKS4A:*:*:*', 'SOCKS5:*:*:*', 'PROXY:*:*:*']

describe.each(['SOCKS4', 'SOCKS4A', 'SOCKS5', 'PROXY'])('%s', kind => {
  test('needs a line, and the refusal prints it', () => {
    const text = `${kind}:proxy.example.com:db.example.com:5432`
    expect(refusal(text)).toContain(`Permit it there: add "${text}" under permit: in agent.yaml`)
    expect(refusal(text, [text])).toBeUndefined()
    expect(refusal(text, [`${kind}:proxy.example.com:*:5432`])).toBeUndefined()
    expect(refusal(text, [`${kind}:other.example.com:*:5432`])).toBeDefined()
    expect(refusal(text, [`${kind}:*:*:80`])).toBeDefined()
    expect(refusal(`${kind}:10.0.0.1:10.1.2.3:80`, [`${kind}:10.0.0.1:10.0.0.0/8:*`])).toBeUndefined()
    expect(refusal(`${kind}:10.0.0.1:db:80`, [`${kind}:10.0.0.1:10.0.0.0/8:*`])).toBeDefined()
  })

  test.each([
    ['192.0.2.1:10.66.1.1:80', ['TCP:10.66.0.0/16:*'], false],
    ['10.66.1.1:192.0.2.1:80', ['TCP:10.66.0.0/16:*'], false],
    ['192.0.2.1:10.66.1.1:80', ['*:10.66.0.0/16:*'], false],
    ['10.66.1.1:192.0.2.1:80', ['*:10.66.0.0/16:*'], false],
    ['10.66.1.1:192.0.2.1:80', [`*:10.66.0.0/16:${kind === 'PROXY' ? 8080 : 1080}`], false],
    ['192.0.2.1:10.67.1.1:80', ['*:10.66.0.0/16:*', 'TCP:10.66.0.0/16:*'], true],
    ['192.0.2.1:10.66.1.1:80', ['*:10.66.0.0/16:81', 'TCP:10.66.0.0/16:81'], true],
    ['192.0.2.1:db.example.com:80', ['*:*.example.com:*'], false],
    ['192.0.2.1:db.example.com:80', ['TCP:db.example.com:80'], false],
    ['192.0.2.1:db.example.com:80', ['TCP:*.example.org:*'], true],
    ['192.0.2.1:169.254.169.254:80', [], false],
    ['192.0.2.1:0xa9fea9fe:80', [], false],
    ['169.254.169.254:192.0.2.1:80', [], false],
  ])('%s with forbid %j: %j', (rest, forbidden, permitted) => {
    expect(refusal(`${kind}:${rest}`, any, forbidden) === undefined).toBe(permitted)
  })

  test('what is always denied is so behind a proxy too, until the owner names it', () => {
    const text = `${kind}:192.0.2.1:169.254.169.254:80`
    expect(refusal(text, any)).toContain('add "TCP:169.254.169.254:80" under permit: in agent.yaml')
    expect(refusal(text, [...any, 'TCP:169.254.169.254:80'])).toBeUndefined()
  })
})

test('a name that the proxy resolves counts as inside of every forbidden network', () => {
  const lines = [...any]
  for (const forbidden of ['TCP:10.66.0.0/16:*', '*:10.66.0.0/16:*']) {
    expect(refusal('SOCKS5:192.0.2.1:db:80', lines, [forbidden])).toContain(
      `the proxy resolves db, so nobody here can tell whether the host's ceiling forbids it with ${forbidden} (the test). Write its IP address, or resolve it here: with \`resolve\`, or by SOCKS4`,
    )
    expect(refusal('SOCKS5:192.0.2.1:db:80,resolve', lines, [forbidden])).toBeUndefined()
    expect(refusal('SOCKS4:192.0.2.1:db:80', lines, [forbidden])).toBeUndefined()
    expect(refusal('PROXY:192.0.2.1:db:80', lines, [forbidden.replace(':*', ':81')])).toBeUndefined()
  }
})

test('a name that is resolved here is checked by its address before the proxy hears of it', async () => {
  let heard = 0
  await using proxy = await openServer(client => {
    heard++
    client.resume()
  })
  for (const [forbidden, ip, why] of [
    ['TCP:10.66.0.0/16:*', '10.66.1.1', 'forbids TCP:10.66.0.0/16:*'],
    ['*:10.66.0.0/16:*', '10.66.1.1', 'forbids *:10.66.0.0/16:*'],
    ['TCP:10.66.0.0/16:*', '169.254.169.254', 'no target at 169.254.169.254'],
  ] as const) {
    const lookup = async () => [{ address: ip, family: 4 }]
    const cx = openContext({ egress: ceiling(any, [forbidden]), lookup })
    for (const text of ['SOCKS4:127.0.0.1:db:80', 'SOCKS5:127.0.0.1:db:80,resolve']) {
      const { dialer } = bindTarget(`${text},socksport=${proxy.port}`)
      await expect(dialer!.dial(cx)).rejects.toMatchObject({
        code: 'denied',
        why: expect.stringContaining(why),
      })
    }
  }
  expect(heard).toBe(0)
})

test('the proxy is judged by the address that its name has', async () => {
  const lookup = async () => [{ address: '10.66.1.1', family: 4 }]
  for (const [lines, forbidden] of [
    [any, ['TCP:10.66.0.0/16:*']],
    [any, ['SOCKS5:10.66.0.0/16:*:*']],
    [['SOCKS5:10.67.0.0/16:*:*'], []],
  ] as const) {
    const cx = openContext({ egress: ceiling(lines, forbidden), lookup })
    const { dialer } = bindTarget('SOCKS5:proxy:192.0.2.1:80')
    await expect(dialer!.dial(cx)).rejects.toMatchObject({ code: 'denied' })
  }
})

test.each<[string, EgressPolicy]>([
  ['without a ceiling', openEgress],
  ['whatever the ceiling says', guardEgress({ check() {}, checkBeyond() {} })],
])('%s a proxy is not asked for what is always denied', async (_, egress) => {
  const { dialer } = bindTarget('SOCKS5:127.0.0.1:169.254.169.254:80,socksport=1')
  await expect(dialer!.dial(openContext({ egress }))).rejects.toMatchObject({ code: 'denied' })
})

describe('a forbid without a kind', () => {
  test.each([
    ['TCP:10.66.1.1:80', false],
    ['TCP4:10.66.1.1:80', false],
    ['UDP:10.66.1.1:53', false],
    ['UDP4-SENDTO:10.66.1.1:53', false],
    ['UDP-DATAGRAM:10.66.1.1:53', false],
    ['OPENSSL:10.66.1.1:443', false],
    ['TCP:10.67.1.1:80', true],
    ['TCP:[64:ff9b::a42:101]:80', false],
    ['HEALTH', true],
  ])('covers %s: permitted %j', (text, permitted) => {
    expect(refusal(text, [], ['*:10.66.0.0/16:*']) === undefined).toBe(permitted)
  })

  test('holds for names by what they resolve to', () => {
    const rules = ceiling([], ['*:10.66.0.0/16:*'])
    const { scope } = bindTarget('OPENSSL:db:443')
    expect(() => rules.check(scope, '10.66.1.1')).toThrow('forbids *:10.66.0.0/16:*')
    rules.check(scope, '10.67.1.1')
  })

  test('leaves listeners alone, which have lines of their own', () => {
    const rules = ceiling(['TCP-LISTEN:0.0.0.0:80'], ['*:10.66.0.0/16:*', '*:*:80'])
    rules.checkListen(bindListen('TCP-LISTEN:80'))
  })

  test('is read from the file of the host, and a permit of that kind is refused', () => {
    expect(parseConfig('forbid:\n  - "*:10.66.0.0/16:*"\n').forbid[0]?.text).toBe('*:10.66.0.0/16:*')
    expect(() => parseConfig('permit:\n  - "*:10.66.0.0/16:*"\n')).toThrow(
      'a line that permits names the kind that it permits. Write e.g. `TCP:10.66.0.0/16:*`, a line for each kind',
    )
    expect(() => parseConfig('forbid:\n  - "*:10.66.0.0/16"\n')).toThrow('it has 1 of 2 parts')
  })
})
