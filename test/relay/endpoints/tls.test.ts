import { afterAll } from 'vitest'
import type { Channel, Listener } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { conformance, type Pair } from '#test/conformance/endpoint.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openPki } from '#test/resources/pki.ts'

const pki = openPki()
afterAll(() => pki[Symbol.dispose]())
const server = pki.issue({ name: 'localhost', alt: 'DNS:localhost,IP:127.0.0.1' })
const client = pki.issue({ name: 'client', alt: 'URI:spiffe://prod/agent/web-1', usage: 'clientAuth' })

const listen = (text: string, cx = openContext()): Promise<Listener> => bindAddress(text).acceptor!.listen(cx)
const dial = (text: string, cx = openContext()): Promise<Channel> => bindAddress(text).dialer!.dial(cx)

const door = `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${server.both},verify=0`
const guarded = `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,cert=${server.cert},key=${server.key},cafile=${pki.ca}`
const trusting = (local: string) => `OPENSSL:${local},cafile=${pki.ca}`
const known = (local: string) => `${trusting(local)},cert=${client.cert},key=${client.key}`

async function tlsPair(options = ''): Promise<Pair & { dialled: Channel; accepted: Channel }> {
  await using listener = await listen(guarded.replace(',fork', ''))
  const [dialled, { value }] = await Promise.all([
    dial(known(listener.local) + options),
    listener[Symbol.asyncIterator]().next(),
  ])
  const accepted = value as Channel
  return {
    dialled,
    accepted,
    near: dialled,
    far: accepted,
    async [Symbol.asyncDispose]() {
      await dialled[Symbol.asyncDispose]()
      await accepted[Symbol.asyncDispose]()
    },
  }
}

conformance('a dialled OPENSSL', {
  resets: true,
  open: () => tlsPair(),
  listening: () => ({
    endpoint: bindAddress(door),
    dialer: ({ local }: Listener) => bindAddress(trusting(local)),
  }),
  unreachable: () => ({ endpoint: bindAddress('OPENSSL:127.0.0.1:1'), code: 'refused' }),
})

conformance('an accepted OPENSSL', {
  resets: true,
  async open() {
    const pair = await tlsPair()
    return { ...pair, near: pair.accepted, far: pair.dialled }
  },
})

conformance('an OPENSSL of TLS 1.2', {
  resets: true,
  open: () => tlsPair(',openssl-max-proto-version=TLS1.2'),
})
