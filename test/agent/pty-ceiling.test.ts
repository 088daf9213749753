import { expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { bindListen, bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { permit } from './resources.ts'

/** The refusal; undefined if it is permitted. */
function refusal(act: () => void): RelayError | undefined {
  try {
    act()
  } catch (thrown) {
    return thrown as RelayError
  }
  return undefined
}

function refusals(text: string, lines: string[], forbidden: string[]): (RelayError | undefined)[] {
  const ceiling = openCeiling({ permit: permit(...lines), forbid: permit(...forbidden) })
  return [
    refusal(() => ceiling.checkListen(bindListen(text))),
    refusal(() => ceiling.checkTarget(bindTarget(text))),
  ]
}

const anyLink = 'PTY,link=/dev/fleetcat/*'

test.each<[text: string, lines: string[], forbidden: string[], permitted: boolean]>([
  ['PTY', [], [], false],
  ['PTY', ['PTY'], [], true],
  ['PTY,raw,echo=0,b9600,wait-slave', ['PTY'], [], true],
  ['PTY,link=/dev/fleetcat/modem', ['PTY'], [], false],
  ['PTY,link=/dev/fleetcat/modem', [anyLink], [], true],
  ['PTY,symbolic-link=/dev/fleetcat/modem,raw', [anyLink], [], true],
  ['PTY,link=/dev/fleetcat/../modem', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/a/modem', [anyLink], [], false],
  ['PTY,link=/dev/modem', [anyLink], [], false],
  ['PTY', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/modem,mode=666', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/modem,mode=600', [anyLink], [], true],
  ['PTY,link=/dev/fleetcat/modem,mode=640', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/modem,user=nobody', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/modem,group=dialout', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/modem,unlink-early', [anyLink], [], false],
  ['PTY,link=/dev/fleetcat/modem,group=dialout,mode=660', [`${anyLink},group=dialout,mode=660`], [], true],
  ['PTY,link=/dev/fleetcat/modem,mode=666', [`${anyLink},mode=*`], ['PTY,mode=666'], false],
  ['PTY,link=/etc/modem', ['PTY,link=/**'], ['PTY,link=/etc/**'], false],
])('%s, permit %j, forbid %j: %j', (text, lines, forbidden, permitted) => {
  const found = refusals(text, lines, forbidden)
  expect(found.map(each => each?.code)).toEqual(permitted ? [undefined, undefined] : ['denied', 'denied'])
})

test('the refusal prints the line that permits it, and only it', () => {
  const text = 'PTY,raw,link=/dev/fleetcat/modem,mode=660,group=dialout'
  const line = 'PTY,link=/dev/fleetcat/modem,group=dialout,mode=660'
  for (const denied of refusals(text, [], [])) {
    expect(denied?.fix).toBe(`Permit it there: add "${line}" under permit: in agent.yaml`)
  }
  expect(refusals(text, [line], [])).toEqual([undefined, undefined])
  expect(refusals(text.replace('modem', 'modems'), [line], [])[0]?.code).toBe('denied')
})
