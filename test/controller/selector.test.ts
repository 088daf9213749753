import { describe, expect, test } from 'vitest'
import { parseSelector } from '#controller/selector.ts'
import { RelayError } from '#relay/errors.ts'

const host = { site: 'paris', env: 'prod', role: 'db', gpu: '', 'host.os': 'linux', 'a/b': 'c' }

describe('selects', () => {
  test.each([
    ['', true],
    ['   ', true],
    ['site=paris', true],
    ['site==paris', true],
    [' site = paris ', true],
    ['site=lyon', false],
    ['Site=paris', false],
    ['site=', false],
    ['gpu=', true],
    ['site!=lyon', true],
    ['site!=paris', false],
    ['rack!=a', true],
    ['gpu', true],
    ['rack', false],
    ['!rack', true],
    ['! rack', true],
    ['!gpu', false],
    ['role in (db,cache)', true],
    ['role in ( db , cache )', true],
    ['role in (cache)', false],
    ['gpu in (,1)', true],
    ['role notin (cache),site=paris', true],
    ['rack in (a)', false],
    ['role notin (cache)', true],
    ['role notin (db)', false],
    ['rack notin (a)', true],
    ['role IN (db)', true],
    ['site=paris,env!=dev,role in (db,cache),!retired,gpu', true],
    ['site=paris,env!=prod', false],
    ['host.os=linux', true],
    ['a/b=c', true],
    ['toString', false],
    ['!constructor', true],
  ])('%j: %s', (text, wanted) => {
    expect(parseSelector(text).matches(host)).toBe(wanted)
  })
})

describe('shows where a selector stops making sense', () => {
  test.each([
    ['=paris', 1],
    ['site=paris,', 12],
    [',site=paris', 1],
    ['site=paris,,env=prod', 12],
    ['site=paris env=prod', 12],
    ['role in db', 9],
    ['role in (db', 12],
    ['a=b,role in (db', 16],
    ['a=b, c=d e', 10],
    ['site=pa ris', 9],
    ['!', 2],
    ['!a=b', 3],
    ['role in (a b)', 12],
    ['role in ()', 10],
    ['site=a(b', 7],
    ['söte=paris', 2],
    ['a=b\u0000', 4],
    ['role in', 8],
    ['role inn (a)', 6],
  ])('%j at character %i', (text, at) => {
    let thrown: unknown
    try {
      parseSelector(text)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(RelayError)
    expect(thrown).toMatchObject({
      code: 'usage',
      why: `it makes no sense from character ${at} on`,
      fix: expect.stringContaining('site=paris'),
    })
  })
})

test('a hostile selector is read in no time', () => {
  const began = performance.now()
  for (const text of [
    'a '.repeat(50_000),
    'a='.repeat(50_000),
    `a in (${' '.repeat(100_000)}`,
    `a${' '.repeat(100_000)}b`,
  ]) {
    expect(() => parseSelector(text)).toThrow()
  }
  expect(performance.now() - began).toBeLessThan(1_000)
})
