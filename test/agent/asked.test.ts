import { expect, test } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openEchoServer } from '#test/resources/servers.ts'
import { failureOf } from '#test/resources/streams.ts'
import { until } from '#test/resources/until.ts'
import { desired, forbid, openHost, permit } from './resources.ts'

const proxyRelay = desired('r-1', { listen: 'SOCKS-LISTEN:0,bind=127.0.0.1,fork', targets: ['ASKED'] })

function dial(local: string | undefined, place: string) {
  const port = local!.split(':').at(-1)
  return bindAddress(`SOCKS5:127.0.0.1:${place},socksport=${port}`).dialer!.dial(openContext())
}

test('a ceiling that becomes narrower cuts those who went where they may not go any more', async () => {
  await using server = await openEchoServer()
  await using host = openHost({ rules: { permit: permit('ASKED:*:*'), forbid: [] } })
  await host.reconciler.apply([proxyRelay], [])
  const [local] = host.reconciler.report('r-1')!.local
  await using byName = await dial(local, `localhost:${server.port}`)
  await using byAddress = await dial(local, `127.0.0.1:${server.port}`)
  await until('both are open', () => host.roster.live.size === 2 && server.sockets.size === 2)

  host.ceiling.replace({ permit: permit('ASKED:127.0.0.1:*'), forbid: [] })
  await host.reconciler.recheck()
  expect(host.roster.live.size).toBe(2)
  host.ceiling.replace({ permit: permit('ASKED:localhost:*'), forbid: [] })
  await host.reconciler.recheck()
  expect(await failureOf(byAddress.stream.resume())).toBe('ECONNRESET')
  expect([...host.roster.live.values()].map(({ target }) => target)).toEqual([`TCP:localhost:${server.port}`])
  host.ceiling.replace({ permit: permit('ASKED:*:*'), forbid: forbid('*:127.0.0.0/8:*') })
  await host.reconciler.recheck()
  expect(await failureOf(byName.stream.resume())).toBe('ECONNRESET')
})

test('each denied destination is counted and logged', async () => {
  await using host = openHost({ rules: { permit: permit('ASKED:db.example.com:*'), forbid: [] } })
  await host.reconciler.apply([proxyRelay], [])
  const [local] = host.reconciler.report('r-1')!.local
  for (let times = 0; times < 3; times++) {
    await expect(dial(local, '127.0.0.1:80')).rejects.toMatchObject({ code: 'denied' })
  }
  await until('all are told', () => host.reconciler.refusals.get('denied') === 3)
  const lines = host.kept.lines.filter(({ event }) => event === 'connection.failed')
  expect(lines).toHaveLength(3)
  expect(JSON.stringify(lines[0])).toContain('ASKED:127.0.0.1:80')
})

test('a relay whose two ends do not belong together is rejected by the agent too', async () => {
  await using host = openHost()
  await host.reconciler.apply([{ ...proxyRelay, targets: ['TCP:127.0.0.1:80'] }], [])
  expect(host.reconciler.report('r-1')).toMatchObject({
    problem: { code: 'usage', fix: 'Write `ASKED` as its one target' },
  })
})
