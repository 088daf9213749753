import type { RevocationView } from '#gen/fleetcat/v1/operator.ts'
import { VerdictKind } from '#gen/fleetcat/v1/relay.ts'

/** Of revocations that are looked at again and again, each that has changed; until every one has all its verdicts. */
export async function* changesOf(
  looks: AsyncIterable<readonly RevocationView[]>,
): AsyncGenerator<RevocationView> {
  const told = new Map<string, string>()
  for await (const views of looks) {
    for (const view of views) {
      const id = view.revocation?.id ?? ''
      const gist = gistOf(view)
      if (told.get(id) === gist) continue
      told.set(id, gist)
      yield view
    }
    if (views.every(isJudged)) return
  }
}

const isJudged = ({ verdicts }: RevocationView) => verdicts.every(({ kind }) => kind !== VerdictKind.PENDING)

const gistOf = ({ revocation, verdicts }: RevocationView) =>
  [
    revocation?.lockUntil?.getTime(),
    revocation?.liftedAt?.getTime(),
    ...verdicts.map(({ agent, kind, fencedBy }) => `${agent} ${kind} ${fencedBy?.getTime()}`),
  ].join('\n')
