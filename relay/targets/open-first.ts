import type { Channel, OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { Target } from './target.ts'

/** A channel to a target, which counts as a connection of that target until `over` is called, once. */
export interface Opened {
  readonly channel: Channel
  over(): void
}

/** What a client has waited in vain for a silent target, later clients are spared for this many times as long. */
const spared = 10
const longestSparedMs = 30_000

/**
 * Opens the first of these targets that opens. `trying` is told of each that is dialled, and `used` of each change of
 * a target's counts. Rejects with the failure of all, or with the reason of an aborted signal.
 */
export async function openFirst(
  targets: readonly Target[],
  cx: OpenContext,
  { trying, used }: { trying(target: Target): void; used(target: Target): void },
): Promise<Opened> {
  const failures: RelayError[] = []
  for (const target of targets) {
    trying(target)
    const over = () => {
      target.connections--
      used(target)
    }
    const begunAt = performance.now()
    target.connections++
    try {
      const channel = await target.endpoint.dialer!.dial(cx)
      target.total++
      target.error = target.health === 'down' ? target.error : undefined
      target.avoidedUntil = 0
      used(target)
      return { channel, over }
    } catch (thrown) {
      if (cx.signal.aborted) {
        over()
        throw cx.signal.reason
      }
      const error = RelayError.from(thrown, target.address)
      const now = performance.now()
      // One that says no at once costs nobody anything, and may say yes to the next.
      if (error.code === 'timed-out') {
        target.avoidedUntil = now + Math.min(spared * (now - begunAt), longestSparedMs)
      }
      target.failures++
      target.error = error
      failures.push(error)
      over()
    }
  }
  throw allFailed(failures)
}

function allFailed(failures: readonly RelayError[]): RelayError {
  const last = failures.at(-1)!
  if (failures.length === 1) return last
  const why = failures.map(({ message }) => message).join('; ')
  return new RelayError(last.code, { what: `none of ${failures.length} targets opened`, why, cause: last })
}
