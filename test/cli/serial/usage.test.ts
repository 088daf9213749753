import { expect, test } from 'vitest'
import { fleetcat } from '../running.ts'

const port = '@lab-1//dev/ttyUSB0'

test.each<[words: string[], message: RegExp]>([
  [['console', port, '--ttl', '2d'], /--ttl 2d: the longest is 1d/],
  [['console', port, '--ttl', '500ms'], /--ttl 500ms: the shortest is 1s/],
  [['serial', 'pty', port, '--wait', '25h'], /--wait 25h: the longest is 1d/],
  [['serial', 'log', port, '--since', 'yesterday'], /neither a duration nor a time.*10:00 \(today\)/],
  [['serial', 'log', port, '--since', '5'], /--since 5: it has no unit/],
  [['serial', 'log', port, '--since', '2h,follow'], /not a duration/],
  [['console', port, '--replay', 'x'], /: --replay x: it is no number of bytes up to 1048576. .* 8k/],
  [['serial', 'log', port, '--last', 'x'], /: --last x: it is no number of bytes .* 64k/],
  [['serial', 'run', port, '--', 'program'], /the program is not told of the port/],
  [['serial', 'run', port, '--exclusive', '--', 'program', '{}', '{rfc2217}'], /`{}` keeps `{rfc2217}` out/],
])('%j says what is wrong, in the words of the command', async (words, message) => {
  const { code, stderr } = await fleetcat(words)
  expect(stderr).toMatch(message)
  expect(code).toBe(2)
})
