import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createAuthority } from '#identity/ca.ts'
import { identityFileName, loadIdentity, type StoredIdentity, saveIdentity } from '#identity/files.ts'
import { failureOf, issued, openssl, temporaryDirectory } from './fixtures.ts'

async function newIdentity(turn = 'first'): Promise<StoredIdentity> {
  const { key, cert, ca } = await issued(await createAuthority({ cluster: 'prod' }), 'agent', 'edge-1')
  return { key, cert, ca, details: { controllers: ['a.example:7443', '[::1]:7443'], turn } }
}

describe('a saved identity', () => {
  it('comes back as it was, from a file that OpenSSL reads too', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'deep', 'home')
    expect(await loadIdentity(home)).toBeUndefined()
    const identity = await newIdentity()
    await saveIdentity(home, identity)
    expect(await loadIdentity(home)).toMatchObject({
      ...identity,
      identity: { cluster: 'prod', kind: 'agent', name: 'edge-1' },
    })
    const file = join(home, identityFileName)
    expect(await openssl('x509', '-in', file, '-noout', '-subject')).toContain('edge-1')
    expect(await openssl('pkey', '-in', file, '-noout', '-text')).toContain('prime256v1')
  })

  it('is for its owner alone, whatever the umask', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    const before = process.umask(0)
    try {
      await saveIdentity(home, await newIdentity())
    } finally {
      process.umask(before)
    }
    expect((await stat(home)).mode & 0o777).toBe(0o700)
    expect((await stat(join(home, identityFileName))).mode & 0o777).toBe(0o600)
    expect(await readdir(home)).toEqual([identityFileName])
  })

  it.each([0o640, 0o604, 0o620, 0o666])(
    'is refused with the mode %o, with the command that helps',
    async mode => {
      await using directory = await temporaryDirectory()
      const home = join(directory.path, "it's home")
      await saveIdentity(home, await newIdentity())
      await chmod(join(home, identityFileName), mode)
      const failure = await failureOf(loadIdentity(home))
      expect(failure).toMatchObject({ code: 'untrusted' })
      expect(failure.message).toContain(
        `Run: chmod 600 '${directory.path}/it'\\''s home/${identityFileName}'`,
      )
    },
  )

  it('is neither read from nor written to a directory where others write', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    await saveIdentity(home, await newIdentity())
    for (const mode of [0o770, 0o777, 0o1777]) {
      await chmod(home, mode)
      expect(await failureOf(loadIdentity(home))).toMatchObject({
        code: 'untrusted',
        fix: `Run: chmod 700 ${home}`,
      })
      expect(await failureOf(saveIdentity(home, await newIdentity()))).toMatchObject({ code: 'untrusted' })
    }
    await chmod(home, 0o755)
    expect(await loadIdentity(home)).toBeDefined()
  })

  it('is refused when a part is missing, cut or of another identity', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    const [one, two] = [await newIdentity(), await newIdentity()]
    await saveIdentity(home, one)
    const path = join(home, identityFileName)
    const whole = await readFile(path, 'utf8')
    const spoilt = [
      '',
      'hello',
      whole + whole,
      whole.replace(one.key, two.key),
      whole.replace(one.cert, two.cert),
      whole.replace(one.ca, two.ca),
      whole.replace(one.ca, one.cert),
      whole.replace(one.key, ''),
      whole.replace(one.cert + one.ca, one.ca + one.cert),
      `${whole}x`,
      ...Array.from({ length: 60 }, (_, part) =>
        whole.slice(0, Math.floor((whole.trimEnd().length * part) / 60)),
      ),
    ]
    for (const text of spoilt) {
      await writeFile(path, text)
      expect(await failureOf(loadIdentity(home))).toMatchObject({
        code: 'corrupt',
        fix: expect.stringContaining('join again'),
      })
    }
    await writeFile(path, whole)
    expect(await loadIdentity(home)).toMatchObject(one)
    await writeFile(path, Buffer.alloc(1_000_000, 0x41))
    expect(await failureOf(loadIdentity(home))).toMatchObject({ code: 'corrupt' })
  })

  it('is not saved when its parts do not belong together; the old one stays', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    const [one, two] = [await newIdentity(), await newIdentity()]
    await saveIdentity(home, one)
    for (const part of [{ key: two.key }, { cert: two.cert }, { ca: two.ca }, { key: '' }]) {
      expect(await failureOf(saveIdentity(home, { ...one, ...part }))).toMatchObject({ code: 'invalid' })
    }
    expect(await loadIdentity(home)).toMatchObject(one)
    expect(await readdir(home)).toEqual([identityFileName])
  })

  it('leaves no trace when it cannot be put in place', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    await mkdir(join(home, identityFileName, 'in-the-way'), { recursive: true, mode: 0o700 })
    expect(await failureOf(saveIdentity(home, await newIdentity()))).toMatchObject({ code: 'EISDIR' })
    expect(await readdir(home)).toEqual([identityFileName])
  })
})

describe('while an identity is renewed', () => {
  it('whoever reads finds the old one or the new one', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    const identities = [await newIdentity('old'), await newIdentity('new')]
    await saveIdentity(home, identities[0]!)
    let saving = true
    const writer = (async () => {
      for (let turn = 0; turn < 60; turn++) await saveIdentity(home, identities[turn % 2]!)
      saving = false
    })()
    let reads = 0
    while (saving) {
      const loaded = await loadIdentity(home)
      expect(identities.map(identity => identity.key)).toContain(loaded?.key)
      reads++
    }
    await writer
    expect(reads).toBeGreaterThan(0)
  })

  it('a crash at any moment leaves the old one or the new one', async () => {
    await using directory = await temporaryDirectory()
    const home = join(directory.path, 'home')
    const identities = [await newIdentity('old'), await newIdentity('new')]
    const source = await directory.file('identities.json', JSON.stringify(identities))
    for (const saves of [1, 2, 7, 19]) {
      const script = fileURLToPath(new URL('saver.ts', import.meta.url))
      const child = spawn(process.execPath, [script, home, source], { stdio: ['ignore', 'pipe', 'inherit'] })
      const gone = once(child, 'close')
      let seen = 0
      for await (const dots of child.stdout) {
        seen += dots.length
        if (seen >= saves) child.kill('SIGKILL')
      }
      await gone
      expect(child.signalCode).toBe('SIGKILL')
      expect(identities.map(identity => identity.cert)).toContain((await loadIdentity(home))?.cert)
    }
  })
})
