import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launcher, run, startProgram } from '../resources/program.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

test('certificates of agent, controller and operator renew themselves, and no connection notices', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  const config = join(fleet.folder, 'controller.yaml')
  await writeFile(config, 'certificates:\n  agent: 8s\n  operator: 8s\n  controller: 8s\n')
  const controller = await fleet.startController({ args: ['--config', config] })
  const agent = await fleet.startAgent('edge')
  const create = [
    'create',
    'echo',
    '--on',
    'edge',
    'TCP4-LISTEN:0,bind=127.0.0.1,fork',
    `TCP4:127.0.0.1:${target.port}`,
  ]
  await fleet.cat([...create, '--wait'])
  const { items } = await fleet.json(['list'])
  const [host = '', port] = items[0].status.agents[0].local[0].split(':')
  const client = connect(Number(port), host)
  client.on('error', () => {})
  try {
    await once(client, 'connect')
    const first = (await fleet.json(['agents'])).items[0].status.certificateExpiresAt
    // Two full lives of the first certificate: without renewal every call and the session would be over by then.
    await until(
      'the certificate has been renewed twice',
      async () => {
        const { status } = (await fleet.json(['agents'])).items[0]
        return status.state === 'ready' && Date.parse(status.certificateExpiresAt) - Date.parse(first) > 7_000
      },
      40_000,
    )
    client.write('still here')
    const [answer] = await once(client, 'data')
    expect(String(answer)).toBe('still here')
    expect(controller.output()).toMatch(/"event":"certificate.renewed","kind":"controller"/)
    expect(agent.output()).not.toMatch(/session lost/)
    const { items: connections } = await fleet.json(['connections'])
    expect(connections).toHaveLength(1)
    const { items: after } = await fleet.json(['list'])
    expect(after[0].status.agents[0].trace).toHaveLength(1)
  } finally {
    client.destroy()
  }
}, 60_000)

test('any call of an operator past half-life renews the certificate, and the next one uses it', async () => {
  await using fleet = await openFleet()
  const config = join(fleet.folder, 'controller.yaml')
  await writeFile(config, 'certificates:\n  operator: 8s\n')
  const controller = await fleet.startController({ args: ['--config', config] })
  const { token } = await fleet.json(['token', 'create', 'operator', '--name', 'ann', '--role', 'viewer'])
  const ann = { env: { FLEETCAT_HOME: join(fleet.folder, 'ann') } }
  const login = await run([launcher, 'login', token], ann)
  expect(login).toMatchObject({ code: 0 })
  const whoami = async () => JSON.parse((await run([launcher, 'whoami', '-o', 'json'], ann)).stdout)
  const first = Date.parse((await whoami()).expiresAt)
  await until(
    'two lives of the first certificate',
    async () => Date.parse((await whoami()).expiresAt) - first > 9_000,
    30_000,
  )
  expect(await whoami()).toMatchObject({ name: 'ann', role: 'viewer' })
  expect(controller.output()).toMatch(/"event":"certificate.renewed","by":"operator\/ann",/)
}, 60_000)

test('a forward renews its certificate while it runs, and a connection through it lives on', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  const config = join(fleet.folder, 'controller.yaml')
  await writeFile(config, 'certificates:\n  operator: 8s\n')
  await fleet.startController({ args: ['--config', config] })
  await fleet.startAgent('edge')
  const { token } = await fleet.json(['token', 'create', 'operator', '--name', 'ann', '--role', 'operator'])
  const ann = { env: { FLEETCAT_HOME: join(fleet.folder, 'ann') } }
  expect(await run([launcher, 'login', token], ann)).toMatchObject({ code: 0 })
  const began = Date.now()
  await using forward = startProgram(
    [launcher, 'forward', 'TCP4-LISTEN:0,bind=127.0.0.1,fork', `@edge/TCP4:127.0.0.1:${target.port}`],
    ann,
  )
  const [, port] = await forward.says(/127\.0\.0\.1:(\d+) leads to/)
  const client = connect(Number(port), '127.0.0.1')
  client.on('error', () => {})
  try {
    await once(client, 'connect')
    const idOf = async () => (await fleet.json(['connections'])).items[0]?.id
    const id = await until('it is listed', idOf)
    await until('two lives of the first certificate are over', () => Date.now() - began > 17_000, 30_000)
    client.write('still here')
    const [answer] = await once(client, 'data')
    expect(String(answer)).toBe('still here')
    expect(await idOf()).toBe(id)
  } finally {
    client.destroy()
  }
  await fleet.cat(['revoke', 'operator/ann', '--reason', 'enough'])
  expect((await forward.ended).code).toBe(3)
}, 60_000)
