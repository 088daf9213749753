import { expect, test } from 'vitest'
import { RelayState } from '#gen/fleetcat/v1/relay.ts'
import { apply, create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { features } from '#wire/features.ts'

const windows = ['Mon-Fri 08:00-18:00 Europe/Paris', '22:00-06:00 UTC']

test('windows go to the agents that know them, and to no other', async () => {
  await using controller = await openController()
  const [edge, old] = [
    await joinAgent(controller, { name: 'edge-1' }),
    await joinAgent(controller, { name: 'edge-2' }),
  ]
  await using stream = await edge.settle({ features: [...features] })
  await using oldStream = await old.settle({ features: features.filter(each => each !== 'windows') })
  await create(controller, draft('web', { windows, agents: ['edge-1', 'edge-2'] }))
  expect((await stream.await('apply')).changed[0]).toMatchObject({ windows })
  const filter = { name: 'web', selector: '', agent: '' }
  const { relays } = await controller.admin.ask(c => c.listRelays, { filter })
  expect(relays[0]!.agents[1]).toMatchObject({ agent: 'edge-2', state: RelayState.REJECTED })
  expect(oldStream.unheard).toEqual([])
})

test.each([['08:00-18:00'], ['Mon-Fry 08:00-18:00 UTC'], ['08:00-18:00 Europe/Pariss']])(
  '%s is refused by create and by apply',
  async window => {
    await using controller = await openController()
    await joinAgent(controller, { name: 'edge-1' })
    const wrong = draft('web', { windows: [window] })
    await expect(create(controller, wrong)).rejects.toMatchObject({ code: 'usage' })
    await expect(apply(controller, [wrong])).rejects.toMatchObject({ code: 'usage' })
  },
)
