import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { datagramConformance, next, write } from '#test/conformance/datagram.ts'
import type { Pair } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

/** A conversation that one side has begun, for there is none before. */
async function begun(
  kind: string,
  host: string,
  target = 'UDP',
): Promise<Pair & { dialled: Channel; accepted: Channel }> {
  const listener = await listen(`${kind}:0,bind=${host}`)
  const dialled = await dial(`${target}:${listener.local}`)
  if (kind !== 'UDP-RECV') await write(dialled, Buffer.from('knock'))
  const { value } = await listener[Symbol.asyncIterator]().next()
  const accepted = value as Channel
  if (kind !== 'UDP-RECV') await next(accepted)
  return {
    dialled,
    accepted,
    near: dialled,
    far: accepted,
    async [Symbol.asyncDispose]() {
      await listener[Symbol.asyncDispose]()
      await dialled[Symbol.asyncDispose]()
      await accepted[Symbol.asyncDispose]()
    },
  }
}

const answered = async (host: string, target?: string) => {
  const pair = await begun('UDP-LISTEN', host, target)
  // An answer to an answer: from now on it may be sent as much as one likes.
  await write(pair.accepted, Buffer.from('who?'))
  await next(pair.dialled)
  await write(pair.dialled, Buffer.from('me'))
  await next(pair.accepted)
  return pair
}

datagramConformance('a dialled UDP', { answers: true, largest: 65_507, open: () => answered('127.0.0.1') })

datagramConformance('a dialled UDP-SENDTO over IPv6', {
  answers: true,
  largest: 65_487,
  open: () => answered('[::1]', 'UDP6-SENDTO'),
})

datagramConformance('a dialled UDP-DATAGRAM', {
  answers: true,
  largest: 65_507,
  open: () => answered('127.0.0.1', 'UDP4-DATAGRAM'),
})

datagramConformance('a UDP-LISTEN', {
  answers: true,
  largest: 65_507,
  async open() {
    const pair = await answered('127.0.0.1')
    return { ...pair, near: pair.accepted, far: pair.dialled }
  },
})

datagramConformance('a UDP-RECV', {
  answers: false,
  largest: 65_507,
  async open() {
    const pair = await begun('UDP-RECV', '127.0.0.1')
    return { ...pair, near: pair.accepted, far: pair.dialled }
  },
})
