import { mostData } from '#tunnel/frames.ts'
import { datagramConformance } from '../conformance/datagram.ts'
import { conformance } from '../conformance/endpoint.ts'
import { type Conversation, openLinked } from './links.ts'

async function conversation(
  framing: 'stream' | 'datagram',
  seenFrom: 'initiator' | 'answering',
): Promise<Conversation> {
  const linked = await openLinked()
  const { near, far, ...rest } = await linked.converse(framing)
  return {
    ...(seenFrom === 'initiator' ? { near, far } : { near: far, far: near }),
    async [Symbol.asyncDispose]() {
      await rest[Symbol.asyncDispose]()
      await linked[Symbol.asyncDispose]()
    },
  }
}

for (const side of ['initiator', 'answering'] as const) {
  conformance(`a conversation of a tunnel, as its ${side} end sees it,`, {
    open: () => conversation('stream', side),
    resets: true,
    resetCode: 'revoked',
  })
  datagramConformance(`datagrams of a tunnel, as its ${side} end sees them,`, {
    open: () => conversation('datagram', side),
    answers: true,
    largest: mostData,
  })
}
