import { describe, expect, test } from 'vitest'
import { readPlace } from '#cli/serial/place.ts'
import { RelayError } from '#relay/errors.ts'

function refusal(text: string): RelayError {
  try {
    readPlace(text)
  } catch (thrown) {
    return RelayError.from(thrown, text)
  }
  throw new Error(`${text} is not refused`)
}

describe('a port of the fleet', () => {
  test.each([
    ['@lab-1//dev/ttyUSB0', '@lab-1/SERIAL:/dev/ttyUSB0'],
    ['@lab-1/SERIAL:/dev/ttyUSB0', '@lab-1/SERIAL:/dev/ttyUSB0'],
    ['@Lab-1/serial:/dev/ttyUSB0,baud=9600', '@lab-1/SERIAL:/dev/ttyUSB0,baud=9600'],
    ['@lab-1//dev/ttyUSB0,b115200,parity=even', '@lab-1/SERIAL:/dev/ttyUSB0,b115200,parity=even'],
    [
      '@lab-1//dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0',
      '@lab-1/SERIAL:"/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"',
    ],
  ])('%s', (text, address) => {
    expect(readPlace(text).address()).toBe(address)
    expect(readPlace(text).address('share', 'rfc2217')).toBe(`${address},share,rfc2217`)
  })

  test.each([
    ['/dev/ttyUSB0', /names no agent.*serial list/],
    ['@lab-1', /names no port. Write e\.g\. `@lab-1\/\/dev\/ttyUSB0`/],
    ['@lab-1/', /names no port. Write e\.g\. `@lab-1\/\/dev\/ttyUSB0`/],
    ['@', /`@AGENT\/\/dev\/ttyUSB0`/],
    ['@lab-1/TCP4:127.0.0.1:80', /TCP4 is no serial port/],
    ['@lab-1/SERIALL:/dev/ttyUSB0', /no kind of address called/],
    ['@lab-1//dev/ttyUSB0,share', /`share` is not for an address here/],
    ['@lab-1//dev/ttyUSB0,parity=evn', /even/],
    ['@lab-1//dev/ttyUSB0,baud=0', /baud/],
    ['@lab-1//dev/ttyUSB0,bps=9600', /bps/],
  ])('%s is refused', (text, why) => {
    const error = refusal(text)
    expect(error.code).toBe('usage')
    expect(error.message).toMatch(why)
  })
})
