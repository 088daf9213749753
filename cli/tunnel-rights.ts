import { renewAt } from '#identity/renewal.ts'
import { RelayError } from '#relay/errors.ts'
import { startTimer } from '#relay/timer.ts'
import type { Grant } from '#tunnel/dial.ts'
import { messages } from '#wire/call.ts'
import { fromGrant } from '#wire/tunnel.ts'
import { type Fleet, openFleet } from './client.ts'
import { renew } from './renewal.ts'

export interface RightsOptions {
  readonly purpose: string
  readonly onward: readonly string[]
  /** The right to a tunnel has ended, and it was not us who gave it up. */
  readonly lost: (address: string, tunnelId: string, why: RelayError) => void
}

/**
 * The right to a tunnel lasts as long as the call that asked for it, and that as long as the certificate that it was made
 * with. So while tunnels are there the certificate is renewed in time, and calls with the new one take them over.
 */
export interface Rights extends AsyncDisposable {
  /** The line to the controller, with the newest certificate. */
  readonly fleet: Fleet
  ask(address: string, signal: AbortSignal): Promise<Grant>
  /** The tunnel is over. */
  release(tunnelId: string): void
}

interface Hold {
  readonly address: string
  cancel(): void
}

const grantWithinMs = 10_000
/** The controller may be about to say why a tunnel has ended. */
const lastWordMs = 500
const retryMs = 60_000

export function openRights(first: Fleet, { purpose, onward, lost }: RightsOptions): Rights {
  const held = new Map<string, Hold>()
  const opened: Fleet[] = []
  const over = new AbortController()
  let fleet = first
  let stopTimer = scheduleRenewal()

  /** With `tunnelId`, for a tunnel that is ours already. */
  async function hold(address: string, signal: AbortSignal, tunnelId = ''): Promise<Grant> {
    const call = fleet.operator.openTunnel({ address, purpose, onward: [...onward], tunnelId })
    const said = messages(call, `tunnel to ${address}`)
    const cancel = () => call.cancel()
    const patience = setTimeout(cancel, grantWithinMs)
    signal.addEventListener('abort', cancel)
    try {
      const { value } = await said.next()
      if (!value?.grant)
        throw new RelayError('unavailable', { what: address, why: 'the controller gave no answer' })
      const grant = fromGrant(value.grant, address)
      const mine: Hold = { address, cancel }
      const before = held.get(grant.tunnelId)
      held.set(grant.tunnelId, mine)
      before?.cancel()
      void follow(mine, grant.tunnelId, said)
      return grant
    } catch (thrown) {
      cancel()
      throw RelayError.from(thrown, address)
    } finally {
      clearTimeout(patience)
      signal.removeEventListener('abort', cancel)
    }
  }

  async function follow(mine: Hold, tunnelId: string, said: AsyncIterator<unknown>): Promise<void> {
    const why = await said.next().then(
      () => new RelayError('closed', { what: mine.address, why: 'the controller has ended the tunnel' }),
      thrown => RelayError.from(thrown, mine.address),
    )
    if (held.get(tunnelId) === mine) lost(mine.address, tunnelId, why)
  }

  function scheduleRenewal(ms?: number): () => void {
    const { certificate } = fleet.credentials.identity
    const wait = ms ?? renewAt(certificate, new Date()).getTime() - Date.now()
    return startTimer(Math.max(1_000, wait), () => void takeOver())
  }

  async function takeOver(): Promise<void> {
    try {
      await renew(fleet)
      const next = await openFleet(fleet.context)
      opened.push(next)
      fleet = next
      for (const [tunnelId, { address }] of held) await hold(address, over.signal, tunnelId)
    } catch {
      // Half of the certificate's life is left for the next try.
    }
    if (over.signal.aborted) return
    stopTimer = scheduleRenewal(fleet.credentials.pastHalfLife ? retryMs : undefined)
  }

  return {
    get fleet() {
      return fleet
    },
    ask: hold,
    release(tunnelId) {
      const mine = held.get(tunnelId)
      if (!mine) return
      const timer = setTimeout(() => {
        if (held.get(tunnelId) === mine) held.delete(tunnelId)
        mine.cancel()
      }, lastWordMs)
      timer.unref()
    },
    async [Symbol.asyncDispose]() {
      over.abort()
      stopTimer()
      const calls = [...held.values()]
      held.clear()
      for (const { cancel } of calls) cancel()
      for (const each of opened) await each[Symbol.asyncDispose]()
    },
  }
}
