import { describe, expect, test } from 'vitest'
import { formatHostPort, parseHostPort } from '#wire/host-port.ts'

const parts = { what: '--here X', fix: 'Write it so' }

describe('HOST:PORT', () => {
  test.each([
    ['db.example.com:5432', { host: 'db.example.com', port: 5432 }],
    ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['[::1]:65535', { host: '::1', port: 65_535 }],
    ['[::ffff:10.0.0.1]:80', { host: '::ffff:10.0.0.1', port: 80 }],
  ])('%s is read and comes back', (text, found) => {
    expect(parseHostPort(text, parts)).toEqual(found)
    expect(formatHostPort(found)).toBe(text)
  })

  test.each([
    '',
    'db',
    'db:',
    ':80',
    '[]:80',
    '::1:80',
    '[::1]',
    '[::1:80',
    'a b:80',
    'db:x',
    'db:-1',
    'db:123456',
  ])('%j is refused with what to write', text => {
    expect(() => parseHostPort(text, parts)).toThrow('--here X: it is not HOST:PORT. Write it so')
  })

  test('a port has its end', () => {
    expect(() => parseHostPort('db:65536', parts)).toThrow('ports end at 65535')
  })

  test('a host may be left out where that means something', () => {
    expect(parseHostPort(':80', { ...parts, anyHost: '0.0.0.0' })).toEqual({ host: '0.0.0.0', port: 80 })
    expect(() => parseHostPort('[]:80', { ...parts, anyHost: '0.0.0.0' })).toThrow('not HOST:PORT')
  })
})
