import { describe, expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { bindListen, bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { permit } from './resources.ts'

const ceiling = (lines: readonly string[] = [], forbidden: readonly string[] = []) =>
  openCeiling({ permit: permit(...lines), forbid: permit(...forbidden) })

/** The message of the refusal; undefined if it is permitted. */
function refusal(act: () => void): string | undefined {
  try {
    act()
  } catch (thrown) {
    expect((thrown as RelayError).code).toBe('denied')
    return (thrown as RelayError).message
  }
  return undefined
}

const listening = (text: string, lines: string[] = [], forbidden: string[] = []) =>
  refusal(() => ceiling(lines, forbidden).checkListen(bindListen(text)))
const sending = (text: string, lines: string[] = [], forbidden: string[] = []) =>
  refusal(() => ceiling(lines, forbidden).checkTarget(bindTarget(text)))

describe('UDP listeners', () => {
  test.each<[text: string, lines: string[], forbidden: string[], permitted: boolean]>([
    ['UDP4-LISTEN:5353,bind=127.0.0.1,fork', [], [], true],
    ['UDP6-LISTEN:5353,bind=[::1],fork', [], [], true],
    ['UDP-RECV:5514,bind=127.0.0.1', [], [], true],
    ['UDP4-RECVFROM:5514,bind=127.0.0.1,fork', [], [], true],
    ['UDP4-LISTEN:5353,fork', [], [], false],
    ['UDP-RECV:5514', [], [], false],
    ['UDP4-RECVFROM:5514,bind=10.0.0.1', [], [], false],
    ['UDP-RECV:5514', ['UDP-RECV:0.0.0.0:5514'], [], true],
    ['UDP4-RECV:5514', ['UDP-LISTEN:0.0.0.0:5514'], [], true],
    ['UDP4-LISTEN:5514', ['UDP4-RECV:0.0.0.0:5514'], [], false],
    ['UDP4-RECV:5514,bind=127.0.0.1', [], ['UDP-LISTEN:127.0.0.1:5514'], false],
    ['UDP4-LISTEN:5514,bind=127.0.0.1', [], ['UDP-LISTEN:*:5000-5999'], false],
  ])('%s, permit %j, forbid %j: %j', (text, lines, forbidden, permitted) => {
    expect(listening(text, lines, forbidden) === undefined).toBe(permitted)
  })

  test('the refusal prints the line that permits it, and the way without one', () => {
    const message = listening('UDP4-LISTEN:5353,fork')
    expect(message).toContain(
      'add "UDP4-LISTEN:0.0.0.0:5353" under permit: in agent.yaml, or listen with bind=127.0.0.1',
    )
    expect(listening('UDP4-LISTEN:5353,fork', ['UDP4-LISTEN:0.0.0.0:5353'])).toBeUndefined()
  })
})

describe('UDP targets', () => {
  test.each<[text: string, lines: string[], forbidden: string[], permitted: boolean]>([
    ['UDP4:9.9.9.9:53', [], [], true],
    ['UDP-SENDTO:db.example.com:53', [], [], true],
    ['UDP4-DATAGRAM:224.255.0.1:6666', [], [], true],
    ['UDP4-DATAGRAM:10.255.255.255:9,broadcast', [], [], true],
    ['UDP4:169.254.169.254:53', [], [], false],
    ['UDP-SENDTO:0xa9fea9fe:53', [], [], false],
    ['UDP6-DATAGRAM:[fe80::1]:53', [], [], false],
    ['UDP4:10.66.0.1:53', [], ['UDP:10.66.0.0/16:*'], false],
    ['UDP4-SENDTO:10.66.0.1:53', [], ['UDP:10.66.0.0/16:*'], false],
    ['UDP4-DATAGRAM:10.66.0.1:53', [], ['UDP:10.66.0.0/16:*'], false],
  ])('%s, permit %j, forbid %j: %j', (text, lines, forbidden, permitted) => {
    expect(sending(text, lines, forbidden) === undefined).toBe(permitted)
  })

  test('one that others can reach by its own port is a listener too', () => {
    const member = 'UDP4-DATAGRAM:224.255.0.1:6666,bind=:6666,ip-add-membership=224.255.0.1:eth0'
    expect(sending(member)).toContain('add "UDP4-RECV:0.0.0.0:6666" under permit: in agent.yaml')
    expect(sending(member, ['UDP4-RECV:0.0.0.0:6666'])).toBeUndefined()
    expect(listening(member)).toContain('UDP4-RECV:0.0.0.0:6666')
    expect(listening(member, ['UDP4-RECV:0.0.0.0:6666'])).toBeUndefined()
    expect(sending('UDP4-DATAGRAM:10.0.0.1:6666,bind=127.0.0.1:6666')).toBeUndefined()
    expect(sending('UDP4-SENDTO:10.0.0.1:6666,sourceport=6666')).toBeUndefined()
  })
})
