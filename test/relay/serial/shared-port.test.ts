import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { RelayError } from '#relay/errors.ts'
import type { SharedMode } from '#relay/serial/members.ts'
import { openPort } from '#relay/serial/open-port.ts'
import { replayBuffer } from '#relay/serial/replay-buffer.ts'
import { sendBreak } from '#relay/serial/send-break.ts'
import { attachShared, keepShared } from '#relay/serial/shared.ts'
import type { SharedPortOptions } from '#relay/serial/shared-port.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { openDriven } from '#test/resources/serial/driver.ts'
import { openFakeLines } from '#test/resources/serial/lines.ts'
import { until } from '#test/resources/until.ts'

const shared = (path: string, more: Partial<SharedPortOptions> = {}): SharedPortOptions => ({
  path,
  port: { holder: 'a test' },
  shared: true,
  returns: true,
  ...more,
})

const attach = async (
  options: SharedPortOptions,
  who: string,
  mode: SharedMode = 'write',
  cx = openContext(),
) => {
  const view = await attachShared(options, '', { who, mode }, cx)
  let text = ''
  view.stream.on('data', bytes => {
    text += bytes
  })
  return { view, said: () => text, [Symbol.asyncDispose]: () => view[Symbol.asyncDispose]() }
}

/** Where udev would lay the name of this device. */
function named(root: string, path: string): void {
  const folder = join(root, 'dev/serial/by-id')
  mkdirSync(folder, { recursive: true })
  const name = join(folder, 'usb-Acme_Console_42-if00')
  try {
    unlinkSync(name)
  } catch {
    // It is the first.
  }
  symlinkSync(join('../../', path.replace(/^\/dev\//, '')), name)
}

test('a device that comes back under another number is found by its name', async () => {
  await using root = await openScratch()
  await using first = await openFakePort()
  named(root.path, first.path)
  await using one = await attach(shared(first.path, { root: root.path }), 'one')
  await first.unplug()
  await until('it is told', () => one.said().includes('the port has gone'))
  // Its old number is another device's by now.
  await using second = await openFakePort()
  await using third = await openFakePort()
  const [other, again] = second.path === first.path ? [second, third] : [third, second]
  named(root.path, again.path)
  await until('it is there again', () => one.said().includes(`the port is there again, as ${again.path}`))
  other.far.write('not for us')
  again.far.write('for us')
  await until('it is heard', () => one.said().endsWith('for us'))
  expect(one.said()).not.toContain('not for us')
})

test('where the ceiling does not permit the new number, it is waited for, and never opened', async () => {
  await using root = await openScratch()
  await using first = await openFakePort()
  named(root.path, first.path)
  const asked: string[] = []
  const egress = {
    check: ({ args }: { readonly args: readonly string[] }) => {
      asked.push(args[0]!)
      if (args[0] !== first.path) throw new RelayError('denied', { what: args[0]! })
    },
  }
  await using one = await attach(
    shared(first.path, { root: root.path }),
    'one',
    'write',
    openContext({ egress }),
  )
  await using second = await openFakePort()
  named(root.path, second.path)
  await first.unplug()
  await until('the ceiling was asked twice', () => asked.filter(path => path === second.path).length > 1)
  expect(one.said()).not.toContain('there again')
  await using free = await openPort(second.path, { holder: 'another' }, openContext())
  expect(free.path).toBe(second.path)
})

test('two who come at once share one device', async () => {
  await using port = await openFakePort()
  const both = await Promise.all([attach(shared(port.path), 'one'), attach(shared(port.path), 'two')])
  expect(both.map(({ view }) => view.writes).sort()).toEqual([false, true])
  for (const each of both) await each[Symbol.asyncDispose]()
})

test('without its last user the device is closed, and stays open for a keeper', async () => {
  await using port = await openFakePort()
  await (await attach(shared(port.path), 'one'))[Symbol.asyncDispose]()
  await (await openPort(port.path, { holder: 'another' }, openContext()))[Symbol.asyncDispose]()
  await using _keeper = await keepShared(shared(port.path), '', openContext())
  await (await attach(shared(port.path), 'one'))[Symbol.asyncDispose]()
  await expect(openPort(port.path, { holder: 'another' }, openContext())).rejects.toMatchObject({
    code: 'conflict',
  })
})

describe('settings', () => {
  const baudOf = (path: string) =>
    Number(spawnSync('stty', ['-F', path, 'speed'], { encoding: 'utf8' }).stdout)

  test('of a port that is kept are its own again when the last one who has set it otherwise has gone', async () => {
    await using port = await openFakePort()
    await using scratch = await openScratch()
    const kept = shared(port.path, {
      port: { holder: 'a test', settings: { baud: 4_800 } },
      log: { path: join(scratch.path, 'log') },
    })
    await using _keeper = await keepShared(kept, '', openContext())
    const one = await attach(kept, 'one')
    await using two = await attach(kept, 'two')
    await using watcher = await attach(kept, 'watcher', 'watch')
    await one.view.set({ baud: 57_600 })
    await one[Symbol.asyncDispose]()
    expect(two.view.writes).toBe(true)
    await until('it is as it was', () => baudOf(port.path) === 4_800)

    await two.view.set({ baud: 19_200 })
    const three = await attach(kept, 'three', 'take-over')
    await three.view.set({ stop: 2 })
    await three[Symbol.asyncDispose]()
    expect(watcher.view.seen?.settings).toMatchObject({ baud: 19_200, stop: 2 })
    await two[Symbol.asyncDispose]()
    await until('it is as it was', () => watcher.view.seen?.settings.stop === 1)
    expect(baudOf(port.path)).toBe(4_800)
  })

  test('of one that is not kept stay for whoever writes next, and go when nobody writes', async () => {
    await using port = await openFakePort()
    const one = await attach(shared(port.path), 'one')
    const two = await attach(shared(port.path), 'two')
    await using _watcher = await attach(shared(port.path), 'watcher', 'watch')
    await one.view.set({ baud: 57_600 })
    await one[Symbol.asyncDispose]()
    expect(two.view.writes).toBe(true)
    expect(await two.view.set({ stop: 2 })).toMatchObject({ baud: 57_600, stop: 2 })
    await two[Symbol.asyncDispose]()
    await until('it is as it was', () => baudOf(port.path) === 9_600)
  })

  test('are made anew of a device that comes back', async () => {
    await using scratch = await openScratch()
    const name = join(scratch.path, 'console')
    await using first = await openFakePort()
    symlinkSync(first.path, name)
    await using one = await attach(shared(name), 'one')
    await using _watcher = await attach(shared(name), 'watcher', 'watch')
    await one.view.set({ baud: 57_600 })
    await first.unplug()
    await until('it has gone', () => one.said().includes('the port has gone'))
    await using second = await openFakePort()
    unlinkSync(name)
    symlinkSync(second.path, name)
    await until('it is set', () => baudOf(second.path) === 57_600)
    await one[Symbol.asyncDispose]()
    await until('it is as it was', () => baudOf(second.path) === 9_600)
  })
})

test('only who writes has the control of the device', async () => {
  await using port = await openFakePort()
  await using one = await attach(shared(port.path), 'one')
  await using two = await attach(shared(port.path), 'two')
  expect(two.view.port).toBeUndefined()
  expect(await one.view.port!.set({ baud: 57_600 })).toMatchObject({ baud: 57_600 })
  two.view.takeOver()
  expect([one.view.port, two.view.port?.path]).toEqual([undefined, port.path])
})

test('names of others cannot command a terminal', async () => {
  await using port = await openFakePort()
  await using _one = await attach(shared(port.path), 'mallory\x1b]0;x\x07\r\n')
  await using two = await attach(shared(port.path), 'two')
  await until('it is told', () => two.said().includes('writes]'))
  expect(two.said()).toBe('[fleetcat: watching; mallory]0;x writes]\r\n')
})

test('who keeps a port sees all that it says, with nobody else there', async () => {
  await using port = await openFakePort()
  let seen = ''
  const kept = await keepShared(shared(port.path), '', openContext(), bytes => {
    seen += bytes
  })
  port.far.write('booting')
  await until('it is seen', () => seen === 'booting')
  await kept[Symbol.asyncDispose]()
})

test('a replay keeps what it was told to, however small the pieces', () => {
  const replay = replayBuffer()
  replay.grow(1_000)
  for (let n = 0; n < 20_000; n++) replay.add(Buffer.from(`${n % 10}`))
  expect(replay.last(1_000).length).toBe(1_000)
  expect(replay.last(10).toString()).toBe('0123456789')
  expect(replay.last(0).length).toBe(0)
})

test('a break of a device that has none says so, and one of no length is refused', async () => {
  await using port = await openFakePort()
  await using opened = await openPort(port.path, { holder: 'a test' }, openContext())
  expect(await sendBreak(opened)).toBe(false)
  await expect(sendBreak(opened, { ms: 0 })).rejects.toMatchObject({ code: 'usage' })
  await expect(sendBreak(opened, { ms: 60_000 })).rejects.toMatchObject({ code: 'usage' })
})

needing('cc')('a break lasts as long as it was told to', async () => {
  await using lines = await openFakeLines()
  await using port = await openFakePort()
  lines.add(port.path)
  await using driven = await openDriven(port.path, {}, lines.env)
  expect(await driven.call('sendBreak', 120)).toBe(true)
  const [on, off] = lines.log().filter(({ what }) => what.startsWith('break'))
  const lasted = off!.at.getTime() - on!.at.getTime()
  expect(lasted).toBeGreaterThanOrEqual(115)
  expect(lasted).toBeLessThan(600)
})
