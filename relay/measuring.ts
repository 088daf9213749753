import type { Channel } from './endpoint.ts'
import { RelayError } from './errors.ts'

/** The services at the far end that take, give and send back. */
export const measured = ['DISCARD', 'ZERO', 'ECHO'] as const
export type Measured = (typeof measured)[number]

/** Each of the three parts ends with whichever comes first. */
export interface Bounds {
  readonly ms: number
  readonly bytes: number
}

export const defaultBounds: Bounds = { ms: 3_000, bytes: 1024 ** 3 }

/** What went one way, and in what time. */
export interface Carried {
  readonly bytes: number
  readonly ms: number
}

export interface RoundTrips {
  readonly count: number
  readonly minMs: number
  readonly medianMs: number
  readonly p99Ms: number
}

export interface Figures {
  readonly sent: Carried
  readonly received: Carried
  readonly roundTrips: RoundTrips
}

export interface Progress {
  readonly part: keyof Figures
  /** How much of it is over, from 0 to 1. */
  readonly share: number
  readonly bytes: number
  readonly ms: number
}

/** Opens one of the services of the host that is measured. Rejects with a RelayError. */
export type OpenService = (service: Measured, signal: AbortSignal) => Promise<Channel>

const tellEachMs = 100
/** Behind the bounds: a way on which nothing comes through at all has an end, too. */
const patienceMs = 10_000
const mostRoundTrips = 10_000
const question = Buffer.alloc(64, 'fleetcat')
const piece = Buffer.alloc(65_536)

/**
 * Measures the way to a host, one part after the other: as much as it takes, as much as it gives, and how long one
 * answer takes when nothing else is on the way. Rejects with a RelayError.
 */
export async function measure(
  open: OpenService,
  bounds: Bounds,
  tell: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Figures> {
  const sent = await part(open, 'DISCARD', signal, bounds, channel =>
    send(channel, bounds, teller('sent', bounds, tell)),
  )
  const received = await part(open, 'ZERO', signal, bounds, channel =>
    receive(channel, bounds, teller('received', bounds, tell)),
  )
  const roundTrips = await part(open, 'ECHO', signal, bounds, channel =>
    ask(channel, bounds, teller('roundTrips', bounds, tell)),
  )
  return { sent, received, roundTrips }
}

async function part<T>(
  open: OpenService,
  service: Measured,
  signal: AbortSignal,
  { ms }: Bounds,
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  await using channel = await open(service, signal)
  const { promise: broken, reject } = Promise.withResolvers<never>()
  const what = `measuring with ${service}`
  const onAbort = () => reject(RelayError.from(signal.reason, what))
  const why = `nothing has come through for ${Math.round((ms + patienceMs) / 1_000)} s`
  const timer = setTimeout(() => reject(new RelayError('timed-out', { what, why })), ms + patienceMs)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  channel.stream.once('error', thrown => reject(RelayError.from(thrown, what)))
  channel.stream.once('close', () =>
    reject(new RelayError('reset', { what, why: 'the far side has closed it' })),
  )
  try {
    return await Promise.race([work(channel), broken])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    channel.abort(new RelayError('closed', { what, why: 'it is done' }))
  }
}

type Teller = (bytes: number, ms: number) => boolean

/** Answers whether the part is over. */
function teller(part: keyof Figures, bounds: Bounds, tell: (progress: Progress) => void): Teller {
  let toldAt = 0
  return (bytes, ms) => {
    const share = Math.min(1, Math.max(bytes / bounds.bytes, ms / bounds.ms))
    if (ms - toldAt >= tellEachMs) {
      toldAt = ms
      tell({ part, share, bytes, ms })
    }
    return share >= 1
  }
}

/** Counts until the far side has taken the last byte: what only waits on the way was not carried. */
function send({ stream }: Channel, { bytes: most }: Bounds, told: Teller): Promise<Carried> {
  const began = performance.now()
  let bytes = 0
  return new Promise(resolve => {
    const fill = () => {
      let hasRoom = true
      while (hasRoom && !stream.destroyed) {
        if (told(bytes, performance.now() - began)) return void stream.off('drain', fill).end()
        const next = piece.subarray(0, most - bytes)
        bytes += next.length
        hasRoom = stream.write(next)
      }
    }
    stream.once('end', () => resolve({ bytes, ms: performance.now() - began })).resume()
    stream.on('drain', fill)
    fill()
  })
}

function receive({ stream }: Channel, _: Bounds, told: Teller): Promise<Carried> {
  const began = performance.now()
  let bytes = 0
  return new Promise(resolve => {
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      const ms = performance.now() - began
      if (!told(bytes, ms)) return
      // At once: what gives without end may not come to an end of its turn before.
      stream.pause()
      resolve({ bytes, ms })
    })
  })
}

function ask({ stream }: Channel, _: Bounds, told: Teller): Promise<RoundTrips> {
  const began = performance.now()
  const times: number[] = []
  let missing = question.length
  let askedAt = began
  return new Promise(resolve => {
    stream.on('data', (chunk: Buffer) => {
      missing -= chunk.length
      if (missing > 0) return
      const now = performance.now()
      times.push(now - askedAt)
      const isOver = told(times.length * question.length, now - began) || times.length >= mostRoundTrips
      if (isOver) return resolve(summaryOf(times))
      missing = question.length
      askedAt = now
      stream.write(question)
    })
    stream.write(question)
  })
}

function summaryOf(times: number[]): RoundTrips {
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!
  return { count: times.length, minMs: times[0]!, medianMs: at(0.5), p99Ms: at(0.99) }
}
