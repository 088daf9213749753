import { expect } from 'vitest'
import { toDuration } from '#wire/duration.ts'
import { openController } from '../resources/fleet.ts'
import { openFolder } from '../resources/folder.ts'
import { needing } from '../resources/needs.ts'
import { openPki } from '../resources/pki.ts'
import { isAlive } from '../resources/programs.ts'
import { until } from '../resources/until.ts'
import { createReady, startHost, untilReady } from './host.ts'
import { familyIn, kinds, type Setting } from './kinds.ts'

const leaseMs = 5_000
const tried = [
  ...['TCP', 'UDP flow', 'serial port', 'shared serial port', 'serial port behind a server of RFC 2217'],
  'program with a double-forked grandchild',
]

needing('setsid', 'openssl')(
  'a host that was stopped for longer than its lease carries not one byte more, whatever the kind',
  async () => {
    await using folder = await openFolder()
    await using held = new AsyncDisposableStack()
    using pki = openPki()
    const place = { folder: folder.path, ...pki.issue({ name: 'localhost' }) }
    const settings: Setting[] = []
    for (const name of tried) settings.push(held.use(await kinds[name]!(place)))
    await using controller = await openController()
    const permit = settings.flatMap(setting => setting.permit)
    await using host = await startHost(controller, { permit })
    const lease = toDuration(leaseMs)
    const talks = []
    for (const [i, { listen, target, talk, reached }] of settings.entries()) {
      const { local } = await createReady(controller, `relay-${i}`, { listen, targets: [target], lease })
      const client = held.use(await talk(local))
      client.say('before;')
      await until('it carries', () => client.heard() === 'before;')
      talks.push({ client, reached, name: `relay-${i}` })
    }
    await until('the program runs', () => familyIn(folder.path).length === 2)

    host.agent.kill('SIGSTOP')
    const over = performance.now() + leaseMs + 1_000
    await until('more time has passed than the lease has', () => performance.now() > over, 2 * leaseMs)
    for (const { client } of talks) client.say('after;')
    host.agent.kill('SIGCONT')

    for (const { name } of talks) {
      await host.agent.says(new RegExp(`"event":"connection.closed","relay":"${name}".*"cause":"lapsed"`))
    }
    for (const pid of familyIn(folder.path)) expect(isAlive(pid)).toBe(false)
    for (const { name, client, reached } of talks) {
      await untilReady(controller, name)
      expect(reached(), name).toBe('before;')
      expect(client.heard(), name).toBe('before;')
    }
  },
  90_000,
)
