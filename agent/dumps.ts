import type { AgentServiceClient, DumpOrder } from '#gen/fleetcat/v1/agent.ts'
import { RelayError } from '#relay/errors.ts'
import type { Connection } from '#relay/relay.ts'
import type { Logger } from '#telemetry/log.ts'
import { showDump } from './dump.ts'
import type { Onlooker } from './watchers.ts'

export interface DumpsContext {
  /** Opened anew for each dump: a connection of its own, so that no dump can hold up a receipt or a report. */
  readonly open: () => AgentServiceClient
  readonly watch: (relayId: string, onlooker: Onlooker) => () => void
  readonly connections: ReadonlyMap<string, Connection>
  readonly log: Logger
}

/** What operators look at, of all that passes through this host's relays. Nothing of it ever slows a relay. */
export interface Dumps extends AsyncDisposable {
  /** Never throws: who asked is told what is wrong. */
  begin(order: DumpOrder): void
}

const mostDumps = 16

export function openDumps(cx: DumpsContext): Dumps {
  const live = new Set<ReturnType<typeof showDump>>()

  const tooMany = () => {
    if (live.size < mostDumps) return undefined
    const why = `${mostDumps} are shown there already`
    return new RelayError('exhausted', { what: 'this dump', why, fix: 'End some of them first' })
  }

  return {
    begin(order) {
      const { dumpId, by, relayId, connectionId } = order
      const about = { dump: dumpId, by, relayId, ...(connectionId && { connection: connectionId }) }
      try {
        const dump = showDump(order, cx, tooMany())
        live.add(dump)
        cx.log.info({ event: 'dump.began', ...about }, 'what passes is shown to an operator')
        void dump.gone.then(() => {
          live.delete(dump)
          cx.log.info({ event: 'dump.ended', ...about }, 'what passes is shown no longer')
        })
      } catch (thrown) {
        const error = RelayError.from(thrown, 'the dump')
        cx.log.warn({ event: 'dump.failed', ...about, error }, 'what passes cannot be shown')
      }
    },
    async [Symbol.asyncDispose]() {
      for (const { cancel } of live) cancel()
      for (const { gone } of live) await gone
    },
  }
}
