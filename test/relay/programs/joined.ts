import { openEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openRelay } from '#relay/relay.ts'

/** `joined.ts [-u] ADDRESS ADDRESS`: one relay of this process, which ends with it and says on stderr how it ended. */
const [first = '', second = '', flag] = process.argv.slice(2)
const relay = openRelay(
  {
    id: 'joined',
    name: 'joined',
    listen: bindAddress(first),
    targets: [bindAddress(second)],
    limits: {},
    ...(flag === '-u' && { flow: { unidirectional: 'forward' as const } }),
  },
  {
    egress: openEgress,
    newConnectionId: () => 'the only one',
    observer: {
      state(state) {
        if (state.name === 'done') return
        if (state.name === 'rejected') {
          process.stderr.write(`rejected: ${state.error.message}\n`)
          void relay[Symbol.asyncDispose]()
        }
      },
      opened() {},
      closed: (_, { cause, error }) => void process.stderr.write(`${cause} ${error?.message ?? ''}\n`),
      refused() {},
      failed() {},
    },
  },
)
