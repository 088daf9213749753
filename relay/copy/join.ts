import type { Channel } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import { newMeter, pump } from '../pump.ts'
import { brokenOff } from './conversation.ts'
import { frameSplitter, type Piece } from './frames.ts'
import type { Message } from './messages.ts'

export type Side = 'sender' | 'receiver'

export type Done = Extract<Message, { is: 'done' }>

export interface Joining {
  readonly signal: AbortSignal
  /** Sees what each side says, and the bytes between, as they pass. */
  readonly heard?: (side: Side, piece: Piece) => void
}

/**
 * Joins the two sides of a copy until it is done; whoever holds the channels disposes them. Rejects with the RelayError
 * of the side that failed, or with why it was cut.
 */
export async function joinCopy(
  sender: Channel,
  receiver: Channel,
  { signal, heard }: Joining,
): Promise<Done> {
  let done: Done | undefined
  let failed: RelayError | undefined
  const hear = (side: Side, piece: Piece) => {
    if ('message' in piece) {
      const { message } = piece
      if (message.is === 'failed') failed ??= new RelayError(message.code, message)
      if (message.is === 'done' && side === 'receiver') done ??= message
    }
    heard?.(side, piece)
  }
  const listeners = { forward: listener('sender', hear), backward: listener('receiver', hear) }
  const meter = newMeter()
  meter.tap = (direction, bytes) => listeners[direction](bytes)
  const end = await pump(sender, receiver, {}, signal, meter)
  if (done) return done
  throw failed ?? end.error ?? brokenOff()
}

/** What makes no sense is for the other side to refuse; nothing more is understood then. */
function listener(side: Side, hear: (side: Side, piece: Piece) => void): (bytes: Buffer) => void {
  const split = frameSplitter()
  let isLost = false
  return bytes => {
    if (isLost) return
    try {
      for (const piece of split(bytes)) hear(side, piece)
    } catch {
      isLost = true
    }
  }
}
