import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Address, formatAddress, maxAddressLength, parseAddress, parseTarget } from '#relay/address.ts'
import { RelayError } from '#relay/errors.ts'

const brief = (address: Address) => {
  const options = address.options.map(({ name, value }) => (value === undefined ? name : [name, value]))
  return {
    keyword: address.keyword,
    args: address.args,
    options,
    ...(address.host ? { host: address.host } : {}),
  }
}

const refusal = (text: string): RelayError => {
  try {
    parseAddress(text)
  } catch (error) {
    if (error instanceof RelayError) return error
    throw error
  }
  throw new Error(`${text} was accepted`)
}

describe('an address is read as socat reads it', () => {
  test.each<[string, string, string[], unknown[]]>([
    [
      'TCP4-LISTEN:8080,bind=127.0.0.1,reuseaddr,fork,range=127.0.0.1/32',
      'TCP4-LISTEN',
      ['8080'],
      [['bind', '127.0.0.1'], 'reuseaddr', 'fork', ['range', '127.0.0.1/32']],
    ],
    ['tcp4:example:80,Connect-Timeout=5', 'TCP4', ['example', '80'], [['connect-timeout', '5']]],
    ['TCP:[::1]:80', 'TCP', ['[::1]', '80'], []],
    ['-', 'STDIO', [], []],
    ['-,ignoreeof', 'STDIO', [], ['ignoreeof']],
    ['3', 'FD', ['3'], []],
    ['/dev/ttyUSB0,raw,b115200', 'GOPEN', ['/dev/ttyUSB0'], ['raw', 'b115200']],
    ['./a.log', 'GOPEN', ['./a.log'], []],
    ['/dev/serial/by-path/pci-0:1.0', 'GOPEN', ['/dev/serial/by-path/pci-0:1.0'], []],
    ["EXEC:'ssh -W 127.0.0.1:5432 db'", 'EXEC', ['ssh -W 127.0.0.1:5432 db'], []],
    ['SYSTEM:"printf \'%s|\' a, \\"b\\""', 'SYSTEM', ['printf \'%s|\' a, "b"'], []],
    ['OPEN:(a,b)', 'OPEN', ['(a,b)'], []],
    ['OPEN:{"a,b"}', 'OPEN', ['{"a,b"}'], []],
    ["OPEN:(a',)'b)", 'OPEN', ["(a',)'b)"], []],
    ['OPEN:(a\\,b)', 'OPEN', ['(a,b)'], []],
    ['OPEN:a\\,b\\:c\\\\d', 'OPEN', ['a,b:c\\d'], []],
    ["OPEN:'a\\nb'", 'OPEN', ['a\nb'], []],
    ['OPEN:a)b', 'OPEN', ['a)b'], []],
    ['OPEN:a!b', 'OPEN', ['a!b'], []],
    ['OPEN:', 'OPEN', [''], []],
    ['OPEN:a,,rdonly,', 'OPEN', ['a'], ['rdonly']],
    ['OPEN:a,user=b:c=d', 'OPEN', ['a'], [['user', 'b:c=d']]],
    ['OPEN:a,user=', 'OPEN', ['a'], [['user', '']]],
  ])('%s', (text, keyword, args, options) => {
    expect(brief(parseAddress(text))).toEqual({ keyword, args, options })
  })

  test('an address on another host names its agent', () => {
    const address = parseAddress('@DB-1/TCP4:127.0.0.1:5432')
    expect(address).toMatchObject({ host: 'db-1', keyword: 'TCP4', args: ['127.0.0.1', '5432'] })
    expect(parseAddress('@a//dev/null')).toMatchObject({ host: 'a', keyword: 'GOPEN', args: ['/dev/null'] })
  })

  test('a dual target has an address to read and one to write', () => {
    const { read, write } = parseTarget('OPEN:a,rdonly!!@b/OPEN:c,append')
    expect(read).toMatchObject({ text: 'OPEN:a,rdonly', args: ['a'] })
    expect(write).toMatchObject({
      host: 'b',
      text: '@b/OPEN:c,append',
      options: [{ name: 'append', at: 10 }],
    })
    const single = parseTarget('ECHO')
    expect(single.read).toBe(single.write)
  })
})

test.each<[string, string]>([
  [
    '',
    'address ``, character 1: a keyword is missing. Write `KEYWORD:argument,option=value`, e.g. `TCP:example.com:80,connect-timeout=5`',
  ],
  [
    'example.com:80',
    'address `example.com:80`, character 1: `example.com` is no keyword. Write `TCP:example.com:80` for a TCP connection',
  ],
  [
    'TCP:[::1:80',
    'address `TCP:[::1:80`, character 5: `[` is never closed. Close it with `]`, or write `\\[` for the character itself',
  ],
  [
    "EXEC:'a",
    "address `EXEC:'a`, character 6: `'` is never closed. Close it with `'`, or write `\\'` for the character itself",
  ],
  [
    'OPEN:a\\',
    'address `OPEN:a\\`, character 7: nothing follows the backslash. Write `\\\\` for a backslash',
  ],
  ['OPEN:a, rdonly', 'address `OPEN:a, rdonly`, character 8: ` rdonly` is no option. Remove the space'],
  [
    'TCP:a,bind:80',
    'address `TCP:a,bind:80`, character 11: arguments stand before the first option. Move `:` and what follows in front of the first comma, or write `bind=` for a value',
  ],
  [
    'A!!B',
    'address `A!!B`, character 2: a dual address `READ!!WRITE` cannot stand here. Write one address without `!!`',
  ],
  [
    'OPEN:a\u001b[2J',
    'address `OPEN:a\\u{1b}[2J`, character 7: the character U+001B cannot stand in an address. Remove it; a line end or a tab inside an argument is written `\\n` or `\\t`',
  ],
  [
    '@db-1',
    'address `@db-1`, character 1: `@` names an agent and an address there. Write `@AGENT/ADDRESS`, e.g. `@db-1/TCP4:127.0.0.1:5432`',
  ],
])('the refusal of %j says where, why and what to write', (text, message) => {
  expect(refusal(text)).toMatchObject({ code: 'usage', message })
})

test('hidden characters, NUL and endless addresses are refused', () => {
  for (const text of [
    'OPEN:a\u0000',
    'OPEN:a\u202eb',
    'OPEN:a\u0085',
    'OPEN:a\ud800',
    'OPEN:a\\0b',
    '@a/@b/ECHO',
  ]) {
    expect(refusal(text).code).toBe('usage')
  }
  expect(refusal(`OPEN:${'a'.repeat(maxAddressLength)}`).message.length).toBeLessThan(600)
  expect(() => parseTarget('A!!B!!C')).toThrow('two halves')
})

const word = (pattern: RegExp) => fc.stringMatching(pattern)
const value = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'ab/:,!=\'"\\()[]{}- \n\t*é€😀') }),
  fc.string({ unit: 'grapheme' }).filter(text => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text)),
)
const anyAddress = fc.record(
  {
    host: word(/^[a-z0-9][a-z0-9._-]{0,20}$/),
    keyword: word(/^[A-Z][A-Z0-9_-]{0,20}$/),
    args: fc.array(value, { maxLength: 4 }),
    options: fc.array(
      fc.record(
        { name: word(/^[a-z0-9][a-z0-9_.-]{0,20}$/), value, at: fc.constant(0) },
        { requiredKeys: ['name', 'at'] },
      ),
      { maxLength: 4 },
    ),
  },
  { requiredKeys: ['keyword', 'args', 'options'] },
)

test('what is formatted is parsed back as it was, alone and as half of a dual address', () => {
  fc.assert(
    fc.property(anyAddress, address => {
      const text = formatAddress(address)
      expect(brief(parseAddress(text))).toEqual(brief({ ...address, text }))
      const { read, write } = parseTarget(`${text}!!${text}`)
      expect([brief(read), brief(write)]).toEqual([brief({ ...address, text }), brief({ ...address, text })])
    }),
    { numRuns: 2_000 },
  )
})

test('options know where they stand', () => {
  fc.assert(
    fc.property(anyAddress, address => {
      const { text, options } = parseAddress(formatAddress(address))
      for (const { name, at } of options) expect(text.slice(at, at + name.length)).toBe(name)
    }),
  )
})

test('mutilated addresses are accepted or refused, and nothing else happens', () => {
  const seeds = [
    "TCP4-LISTEN:8080,bind=127.0.0.1,reuseaddr,fork,range=(127.0.0.1/32,'10.0.0.0/8')",
    '@db-1/TCP:[::1]:5432,connect-timeout=0.5!!OPEN:"a\\nb",append',
    'SYSTEM:\'printf "HTTP/1.1 200\\r\\n"; cat {file,other}\'',
  ].map(text => Buffer.from(text))
  const edit = fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('replace', 'insert', 'delete', 'repeat'))
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(edit, { minLength: 1, maxLength: 8 }), (seed, edits) => {
      let bytes = [...seed]
      for (const [where, byte, how] of edits) {
        const at = where % (bytes.length + 1)
        if (how === 'repeat')
          bytes = [...bytes.slice(0, at), ...bytes.slice(0, at), ...bytes.slice(at)].slice(0, 9_000)
        else bytes.splice(at, how === 'insert' ? 0 : 1, ...(how === 'delete' ? [] : [byte]))
      }
      const text = Buffer.from(bytes).toString('utf8')
      try {
        const { read } = parseTarget(text)
        expect(brief(parseAddress(formatAddress(read)))).toEqual(brief(read))
      } catch (error) {
        if (!(error instanceof RelayError)) throw error
        expect(error.code).toBe('usage')
        expect(error.message).not.toMatch(/\p{Cc}/u)
      }
    }),
    { numRuns: 3_000 },
  )
})

test.each(['\\', "'", '"', '(', '[{(', ',', ':', '!', '@a/', 'a,', '=', "('"])(
  'a long run of %j costs no time',
  part => {
    const text = `OPEN:${part.repeat(maxAddressLength / part.length - 8)}`
    const started = performance.now()
    try {
      parseTarget(text)
    } catch (error) {
      expect(error).toBeInstanceOf(RelayError)
    }
    expect(performance.now() - started).toBeLessThan(250)
  },
)
