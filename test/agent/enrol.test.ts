import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { enrol } from '#agent/enrol.ts'
import { identityDirectory, obtainIdentity } from '#agent/identity.ts'
import { createCsr } from '#identity/csr.ts'
import { loadIdentity, saveIdentity } from '#identity/files.ts'
import { generateKey, keyToPem } from '#identity/keys.ts'
import { parseToken } from '#identity/token.ts'
import { openFleet } from './fleet.ts'
import { keptLog, silent } from './resources.ts'

const refusal = async (attempt: Promise<unknown>) => {
  const error = await attempt.then(
    () => undefined,
    thrown => thrown,
  )
  return { code: error?.code, text: error?.message ?? 'it was accepted' }
}

/** A TCP server that is no controller. */
async function openServer(greet: (socket: Socket) => void) {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    greet(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('a token buys an identity that only its owner can read, and that knows the controllers', async () => {
  await using fleet = await openFleet()
  const got = await obtainIdentity({
    dataDir: fleet.dataDir,
    join: fleet.token(),
    name: 'edge-7',
    log: silent,
  })
  expect(got.identity).toEqual({ cluster: 'test', kind: 'agent', name: 'edge-7' })
  expect(got.details).toEqual({ cluster: 'test', controllers: [fleet.address] })
  const directory = identityDirectory(fleet.dataDir)
  expect((await stat(directory)).mode & 0o777).toBe(0o700)
  expect((await stat(join(directory, 'identity.pem'))).mode & 0o777).toBe(0o600)
})

test('a host without a name, with a token that has none, is called as the host is', async () => {
  await using fleet = await openFleet({ nameless: true })
  const got = await obtainIdentity({ dataDir: fleet.dataDir, join: fleet.token(), log: silent })
  expect(got.identity.name).toBe(hostname().toLowerCase())
})

test('a restart with the same token uses the identity that is there', async () => {
  await using fleet = await openFleet()
  const kept = keptLog()
  const options = { dataDir: fleet.dataDir, join: fleet.token(), log: kept.log }
  const first = await obtainIdentity(options)
  const second = await obtainIdentity(options)
  expect(second.cert).toBe(first.cert)
  expect(fleet.enrolled).toHaveLength(1)
  expect(kept.has('the token is not used')).toBe(true)
})

test('without an identity and without a token it says what to run', async () => {
  await using fleet = await openFleet()
  const { code, text } = await refusal(obtainIdentity({ dataDir: fleet.dataDir, log: silent }))
  expect(code).toBe('unauthenticated')
  expect(text).toContain('fleetcat token create agent')
  expect(text).toContain('--join TOKEN')
})

describe('a join that fails leaves nothing behind', () => {
  test('with the token of another authority', async () => {
    await using fleet = await openFleet()
    const join = fleet.token({ pin: '0'.repeat(64) })
    const { code, text } = await refusal(obtainIdentity({ dataDir: fleet.dataDir, join, log: silent }))
    expect(code).toBe('denied')
    expect(text).toContain('not the one that the join token names')
    expect(existsSync(fleet.dataDir)).toBe(false)
    expect(fleet.enrolled).toEqual([])
  })

  test('with a token that is used up', async () => {
    await using fleet = await openFleet()
    const join = fleet.token()
    await obtainIdentity({ dataDir: `${fleet.dataDir}-other`, join, log: silent })
    const { code, text } = await refusal(obtainIdentity({ dataDir: fleet.dataDir, join, log: silent }))
    expect([code, text]).toEqual(['denied', expect.stringContaining('used up')])
    expect(existsSync(fleet.dataDir)).toBe(false)
  })

  test('with a token for an operator', async () => {
    await using fleet = await openFleet()
    const join = fleet.token({ kind: 'operator' })
    const { text } = await refusal(obtainIdentity({ dataDir: fleet.dataDir, join, log: silent }))
    expect(text).toContain('fleetcat login')
    expect(existsSync(fleet.dataDir)).toBe(false)
  })

  test('with a token that was cut', async () => {
    await using fleet = await openFleet()
    const join = fleet.token().slice(0, -9)
    expect((await refusal(obtainIdentity({ dataDir: fleet.dataDir, join, log: silent }))).text).toContain(
      'cut short',
    )
    expect(existsSync(fleet.dataDir)).toBe(false)
  })

  test('when nobody answers', async () => {
    await using fleet = await openFleet()
    const join = fleet.token({ addresses: ['127.0.0.1:1'] })
    const { code, text } = await refusal(obtainIdentity({ dataDir: fleet.dataDir, join, log: silent }))
    expect(code).toBe('unavailable')
    expect(text).toContain('127.0.0.1:1')
    expect(existsSync(fleet.dataDir)).toBe(false)
  })

  test('when the clocks differ, and says both', async () => {
    const ahead = new Date(Date.now() + 40 * 86_400_000)
    await using fleet = await openFleet({ clock: () => ahead })
    const attempt = obtainIdentity({ dataDir: fleet.dataDir, join: fleet.token(), log: silent })
    const { code, text } = await refusal(attempt)
    expect(code).toBe('unauthenticated')
    expect(text).toContain(`clock says ${new Date().toISOString().slice(0, 10)}`)
    expect(text).toContain(ahead.toISOString().slice(0, 10))
    expect(existsSync(fleet.dataDir)).toBe(false)
  })

  test('when the identity could not be kept, and the token is still good', async () => {
    await using fleet = await openFleet()
    await writeFile(fleet.dataDir, 'a file, not a directory')
    const join = fleet.token()
    await refusal(obtainIdentity({ dataDir: fleet.dataDir, join, log: silent }))
    expect(fleet.enrolled).toEqual([])
    expect(await readFile(fleet.dataDir, 'utf8')).toBe('a file, not a directory')
  })
})

test('the first controller that answers is joined', async () => {
  await using fleet = await openFleet()
  const join = fleet.token({ addresses: ['127.0.0.1:1', fleet.address] })
  const got = await obtainIdentity({ dataDir: fleet.dataDir, join, log: silent })
  expect(got.details.controllers).toEqual(['127.0.0.1:1', fleet.address])
})

test('a controller that is silent, or hangs up, is passed over', async () => {
  await using fleet = await openFleet()
  for (const greet of [(_: Socket) => {}, (socket: Socket) => socket.destroy()]) {
    await using mute = await openServer(greet)
    const token = parseToken(fleet.token({ addresses: [mute.address, fleet.address] }))
    const directory = identityDirectory(fleet.dataDir)
    const got = await enrol({ token, directory, log: silent, patienceMs: 200 })
    expect(got.identity.name).toBe('edge-1')
    const alone = { ...token, addresses: [mute.address] }
    const { code, text } = await refusal(enrol({ token: alone, directory, log: silent, patienceMs: 200 }))
    expect(code).toBe('unavailable')
    expect(text).toContain(`${mute.address} (`)
  }
})

describe('an identity that is there', () => {
  test('of another name or of another cluster is not used', async () => {
    await using fleet = await openFleet()
    await using other = await openFleet()
    const { dataDir } = fleet
    await obtainIdentity({ dataDir, join: fleet.token(), log: silent })
    const renamed = await refusal(obtainIdentity({ dataDir, name: 'edge-9', log: silent }))
    expect(renamed).toEqual({ code: 'conflict', text: expect.stringContaining('it is of agent edge-1') })
    const moved = await refusal(obtainIdentity({ dataDir, join: other.token(), log: silent }))
    expect(moved).toEqual({ code: 'conflict', text: expect.stringContaining('the token is of another') })
  })

  test('and has expired is refused with what to do, and replaced when there is a new token', async () => {
    await using fleet = await openFleet()
    const { dataDir, ca } = fleet
    const key = await generateKey()
    const cert = await fleet.issue(await createCsr(key), 'edge-1', 1)
    const details = { controllers: [fleet.address] }
    await saveIdentity(identityDirectory(dataDir), { key: keyToPem(key), cert, ca, details })
    const { code, text } = await refusal(obtainIdentity({ dataDir, log: silent }))
    expect(code).toBe('unauthenticated')
    expect(text).toContain('certificate of agent edge-1 is expired')
    expect(text).toContain('fleetcat token create agent --name edge-1')
    const anew = await obtainIdentity({ dataDir, join: fleet.token(), log: silent })
    expect(anew.certificate.validToDate.getTime()).toBeGreaterThan(Date.now())
    expect(await loadIdentity(identityDirectory(dataDir))).toMatchObject({ cert: anew.cert })
  })

  test('and is damaged is refused, not overwritten', async () => {
    await using fleet = await openFleet()
    const directory = identityDirectory(fleet.dataDir)
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await writeFile(join(directory, 'identity.pem'), 'half a key', { mode: 0o600 })
    const { text } = await refusal(
      obtainIdentity({ dataDir: fleet.dataDir, join: fleet.token(), log: silent }),
    )
    expect(text).toContain('damaged')
    expect(fleet.enrolled).toEqual([])
    await expect(loadIdentity(directory)).rejects.toThrow()
  })
})
