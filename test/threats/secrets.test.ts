import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseToken } from '#identity/token.ts'
import { authorityPemOf } from '#test/resources/certificates.ts'
import { mint, openController } from '#test/resources/fleet.ts'
import { redeem } from '#test/resources/joining.ts'

async function filesUnder(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}

/** Every spelling in which bytes might have been written down. */
function spellings(secret: Buffer): string[] {
  return [
    secret.toString('latin1'),
    secret.toString('hex'),
    secret.toString('base64url'),
    secret.toString('base64'),
  ]
}

test('what is secret is neither on the disk of the controller nor in its log', async () => {
  await using controller = await openController({ logLevel: 'trace' })
  const token = await mint(controller, { name: 'edge-1' })
  const { secret } = parseToken(token)
  await redeem(token, { secret: Buffer.from('CANARY-OF-A-WRONG-SECRET-CANARY!') }).catch(() => {})
  const newcomer = await redeem(token)
  await redeem(token).catch(() => {})

  const { d } = newcomer.privateKey.export({ format: 'jwk' })
  const canaries = [
    token,
    ...spellings(secret),
    ...spellings(Buffer.from(d!, 'base64url')),
    ...spellings(Buffer.from('CANARY-OF-A-WRONG-SECRET-CANARY!')),
  ]
  const places = new Map([['the log', controller.lines.join('')]])
  for (const file of await filesUnder(controller.dataDir)) places.set(file, await readFile(file, 'latin1'))
  expect(places.size).toBeGreaterThan(2)
  for (const [place, text] of places) {
    for (const canary of canaries) expect(text.includes(canary), place).toBe(false)
  }

  // The authority's own key is in its own file, and nowhere else.
  const authority = (await authorityPemOf(controller.dataDir)).split('\n')[1]!
  const holders = [...places].filter(([, text]) => text.includes(authority)).map(([place]) => place)
  expect(holders).toEqual([join(controller.dataDir, 'authority', 'authority.pem')])
})

test('the data directory is its owner’s alone', async () => {
  await using controller = await openController()
  for (const entry of await readdir(controller.dataDir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const mode = (await stat(path)).mode & 0o777
    expect(`${path} ${mode.toString(8)}`).toBe(`${path} ${entry.isDirectory() ? '700' : '600'}`)
  }
  expect((await stat(controller.dataDir)).mode & 0o077).toBe(0)
})
