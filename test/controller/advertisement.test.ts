import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { readAdvertisement } from '#controller/advertisement.ts'

test.each([
  ['127.0.0.1:7443', '127.0.0.1', 7443],
  ['[::1]:7443', '::1', 7443],
  ['localhost:0', 'localhost', 0],
  [':7443', '0.0.0.0', 7443],
  ['[::]:65535', '::', 65_535],
])('listens at %s', (text, host, port) => {
  expect(readAdvertisement({ listen: text, advertise: ['c:1'] }).listen).toEqual({ host, port })
})

test.each([
  '127.0.0.1',
  '127.0.0.1:',
  'host:99999',
  'host:65536',
  '::1:7443',
  'a b:1',
  '',
  'host:-1',
  'host:1x',
])('refuses to listen at %j, and shows how to write it', text => {
  expect(() => readAdvertisement({ listen: text })).toThrow(
    expect.objectContaining({ code: 'usage', fix: 'Write for example --listen 127.0.0.1:7443' }),
  )
})

test.each([
  'name',
  'name:0',
  'name:70000',
  ':7443',
  '0.0.0.0:7443',
  '[::]:7443',
  'under_score:1',
  '-a:1',
  'a..b:1',
  'a/b:1',
])('refuses to advertise %j, which nobody could dial', text => {
  expect(() => readAdvertisement({ listen: '127.0.0.1:0', advertise: [text] })).toThrow(
    expect.objectContaining({ code: 'usage', what: `--advertise ${text}` }),
  )
})

test('tokens carry where it listens, with the port that the kernel chose', () => {
  expect(readAdvertisement({ listen: '127.0.0.1:0' }).addresses(4711)).toEqual(['127.0.0.1:4711'])
  expect(readAdvertisement({ listen: '[::1]:0' }).addresses(4711)).toEqual(['[::1]:4711'])
})

test('who listens everywhere is reached by its own name', () => {
  expect(readAdvertisement({ listen: '0.0.0.0:7443' }).addresses(7443)).toEqual([`${hostname()}:7443`])
})

test('what is advertised is what tokens carry, and the certificate has all the names', () => {
  const read = readAdvertisement({
    listen: '127.0.0.1:0',
    advertise: ['fleet.example:443', '[fd00::1]:7443'],
  })
  expect(read.addresses(1)).toEqual(['fleet.example:443', '[fd00::1]:7443'])
  expect(read.hosts).toEqual(['fleet.example', 'fd00::1', '127.0.0.1'])
})
