import { openEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openRelay } from '#relay/relay.ts'

/** `balanced.ts LISTEN TARGET…`: a relay with health checks, which says on stdout what they find. */
const [listen = '', ...targets] = process.argv.slice(2)
let connections = 0
openRelay(
  {
    id: 'balanced',
    name: 'balanced',
    listen: bindAddress(listen),
    targets: targets.map(target => bindAddress(target)),
    limits: {},
    health: { intervalMs: 100, timeoutMs: 200, rise: 1, fall: 1 },
  },
  {
    egress: openEgress,
    newConnectionId: () => `connection-${++connections}`,
    observer: {
      state: ({ name }) => console.log(name),
      opened() {},
      closed() {},
      refused() {},
      failed() {},
      target({ address, health }, change) {
        if (change === 'health') console.log(`${health} ${address}`)
      },
    },
  },
)
