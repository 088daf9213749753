import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openListener } from '../resources/listener.ts'
import { openServer } from '../resources/servers.ts'
import { until } from '../resources/until.ts'
import { openFleet } from './fleet.ts'

const all = '00:00-24:00 UTC'

/** One that is closed now, whenever the test runs. */
function closedNow(): string {
  const hour = (n: number) => `${String((new Date().getUTCHours() + n) % 24).padStart(2, '0')}:00`
  return `${hour(6)}-${hour(8)} UTC`
}

test('a window that closes cuts what is open, the list says when it opens, and files keep it', async () => {
  await using target = await openServer(socket => socket.pipe(socket))
  await using fleet = await openFleet()
  await fleet.startController()
  await fleet.startAgent('edge-1')
  const listen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
  await fleet.cat(['create', 'web', '--window', all, listen, `TCP4:127.0.0.1:${target.port}`, '--wait'])
  const status = async () => (await fleet.json(['list'])).items[0].status
  const port = Number((await status()).agents[0].local[0].split(':').at(-1))
  using user = await openListener(port)
  user.socket.write('hello')
  await until('the relay carries', () => user.heard() === 'hello')

  const closed = closedNow()
  const { stdout } = await fleet.cat(['export'])
  expect(stdout).toContain(all)
  const file = join(fleet.folder, 'web.yaml')
  await writeFile(file, stdout.replace(all, closed))
  expect((await fleet.cat(['diff', '-f', file], 1)).stdout).toContain(`+ spec.windows: ${closed}`)
  await fleet.cat(['apply', '-f', file])
  await until('the connection is cut', user.closed)
  await until('the list says when it opens', async () => {
    return /pending, opens in [56]h/.test((await fleet.cat(['list'])).stdout)
  })
  expect((await status()).agents[0]).toMatchObject({ state: 'pending', local: [] })
  expect((await fleet.cat(['describe', 'relay/web'])).stdout).toContain(closed)
  await fleet.cat(['create', 'night', '--window', closed, listen, 'TCP4:127.0.0.1:1', '--wait'])
}, 60_000)
