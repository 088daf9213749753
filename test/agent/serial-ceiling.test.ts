import { expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { bindTarget } from '#relay/endpoints/index.ts'
import type { RelayError } from '#relay/errors.ts'
import { permit } from './resources.ts'

function refusal(text: string, lines: readonly string[], forbidden: readonly string[] = []) {
  const ceiling = openCeiling({ permit: permit(...lines), forbid: permit(...forbidden) })
  try {
    ceiling.checkTarget(bindTarget(text))
    return undefined
  } catch (thrown) {
    return thrown as RelayError
  }
}

const usb = 'SERIAL:/dev/ttyUSB*'
const logs = 'OPEN:/var/log/**,wronly,append,creat'

test.each<[text: string, lines: string[], forbidden: string[], permitted: boolean]>([
  ['SERIAL:/dev/ttyUSB0', [], [], false],
  ['SERIAL:/dev/ttyUSB0,watch', [], [], false],
  ['SERIAL:/dev/ttyUSB0', ['OPEN:/dev/**'], [], false],
  ['OPEN:/dev/ttyUSB0,b9600', [usb], [], false],
  ['SERIAL:/dev/ttyUSB0,b115200,share,send=x,dtr=0', [usb], [], true],
  ['SERIAL:/dev/ttyUSB12', [usb], [], true],
  ['SERIAL:/dev/ttyS0', [usb], [], false],
  ['SERIAL:/dev/ttyUSB0/../ttyS0', [usb], [], false],
  ['SERIAL:/dev/ttyUSB0', [usb], ['SERIAL:/dev/ttyUSB0'], false],
  ['SERIAL:/dev/ttyUSB0,watch', [usb], ['SERIAL:/dev/ttyUSB0'], false],
  ['SERIAL:/dev/ttyUSB0,watch', [`${usb},watch`], [], true],
  ['SERIAL:/dev/ttyUSB0,share', [`${usb},watch`], [], false],
  ['SERIAL:/dev/ttyUSB0,watch,baud=9600', [`${usb},watch`], [], false],
  ['SERIAL:/dev/ttyUSB0,watch,dtr=0', [`${usb},watch`], [], false],
  ['SERIAL:/dev/ttyUSB0,watch,hupcl', [`${usb},watch`], [], false],
  ['SERIAL:/dev/ttyUSB0,watch,dtr=0', [usb], [], true],
  ['SERIAL:/dev/ttyUSB0,log=/var/log/console.log', [usb], [], false],
  ['SERIAL:/dev/ttyUSB0,log=/var/log/console.log', [usb, logs], [], true],
  ['SERIAL:/dev/ttyUSB0,log=/etc/cron.d/x', [usb, logs], [], false],
])('%s, permit %j, forbid %j: %j', (text, lines, forbidden, permitted) => {
  expect(refusal(text, lines, forbidden)?.code).toBe(permitted ? undefined : 'denied')
})

test('the refusal prints the line that permits it', () => {
  const line = 'SERIAL:/dev/ttyUSB0'
  expect(refusal(`${line},b9600`, [])?.fix).toBe(`Permit it there: add "${line}" under permit: in agent.yaml`)
  expect(refusal(`${line},watch`, [])?.fix).toBe(
    `Permit it there: add "${line},watch" under permit: in agent.yaml`,
  )
  expect(refusal(`${line},b9600`, [line])).toBeUndefined()
})

test('a line may have no option but that one', () => {
  expect(() => permit(`${usb},b9600`)).toThrow(/makes no difference/)
})
