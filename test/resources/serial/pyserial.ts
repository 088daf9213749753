import { expect } from 'vitest'
import type { FakeLines } from './lines.ts'

/** What `pyserial-client.py` says, and what the device is asked for, where all that it tries is so. */
export function expectAllOfPyserial(stdout: string, lines: FakeLines): void {
  expect(JSON.parse(stdout)).toEqual({
    bytes: true,
    baudrate: [300, 115_200, 250_000, 0xffff],
    bytesize: [7, 8],
    parity: ['E', 'O', 'M', 'S', 'N'],
    stopbits: [2, 1],
    rtscts: [true, false],
    xonxoff: [true, false],
    'cts False': true,
    'cts True': true,
    'dsr False': true,
    'dsr True': true,
    'cd False': true,
    'cd True': true,
    ri: false,
    forgotten: 0,
    refused: expect.stringContaining('stopsize'),
    after: 'still here',
    reopened: 'again',
  })
  const asked = lines.log().map(({ what }) => what)
  expect(asked.filter(what => /^break/.test(what))).toEqual([
    'break on',
    'break off',
    'break on',
    'break off',
  ])
  expect(asked).toContain('flush rx')
  expect(asked).toContain('flush tx')
}
