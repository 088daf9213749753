import { openEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'
import { openRelay } from '#relay/relay.ts'

/** Runs a relay to the port in its first argument; says what happens as JSON lines; aborts when its input ends. */
const say = (event: object) => console.log(JSON.stringify(event))
let connections = 0
let refusals = 0
const relay = openRelay(
  {
    id: 'relay-1',
    name: 'crowded',
    listen: bindAddress('TCP4-LISTEN:0,bind=127.0.0.1,fork'),
    targets: [bindAddress(`TCP4:127.0.0.1:${process.argv[2]}`)],
    limits: {},
  },
  {
    egress: openEgress,
    newConnectionId: () => `connection-${++connections}`,
    observer: {
      state: state => say(state.name === 'ready' ? { ready: state.local[0] } : { state: state.name }),
      opened: () => {},
      closed: () => {},
      refused: cause => say({ refused: cause, times: ++refusals }),
      failed: error => say({ failed: error.message }),
    },
  },
)
process.stdin.resume()
process.stdin.once('end', async () =>
  say(await relay.abort(new RelayError('revoked', { what: 'the relay' }))),
)
