import { join } from 'node:path'
import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { root, run } from '../resources/program.ts'

const torture = (...words: string[]) =>
  run([process.execPath, join(root, 'test/torture/main.ts'), ...words], { cwd: root })

/** `npm run torture` goes on for a thousand. */
needing('root', 'ip', 'nft')(
  'every verdict is kept and nothing comes back, whatever happens to hosts, network and controller meanwhile',
  async () => {
    const { code, stdout, stderr } = await torture('fleet', '--hosts', '5', '--rounds', '10')
    console.log(stdout)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toMatch(/10 rounds, \d+ kills of the controller, and the model held/)
  },
  240_000,
)
