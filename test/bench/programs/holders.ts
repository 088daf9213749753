// Clients that hold connections, and note when each was lost.
import { once } from 'node:events'
import { connect } from 'node:net'
import { sharedNow } from '../clock.ts'
import { answerQuestions } from '../processes.ts'

export type HoldersQuestion =
  /** Opens so many connections to each port. Answers once a byte has gone there and back on each. */
  | { readonly do: 'hold'; readonly ports: readonly number[]; readonly each: number }
  /** Waits until all are lost. Answers when each was. */
  | { readonly do: 'lost' }

const atOnce = 20
let open: Promise<number>[] = []

answerQuestions<HoldersQuestion>(async question => {
  if (question.do === 'hold') return hold(question.ports, question.each)
  const lost = await Promise.all(open)
  open = []
  return lost
})

async function hold(ports: readonly number[], each: number): Promise<void> {
  const wanted = ports.flatMap(port => Array.from({ length: each }, () => port))
  const worker = async () => {
    for (let port = wanted.pop(); port !== undefined; port = wanted.pop()) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.on('error', () => {})
      await once(socket, 'connect')
      socket.write('x')
      await once(socket, 'data')
      open.push(new Promise(resolve => socket.once('close', () => resolve(sharedNow()))))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}
