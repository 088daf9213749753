import type { Channel } from '#relay/endpoint.ts'
import { RelayError } from '#relay/errors.ts'
import type { Fleet } from '../client.ts'
import { note } from '../failure.ts'
import { openTunnels } from '../tunnels.ts'
import { connectAgain, isLasting } from './again.ts'
import type { LogOptions } from './log.ts'
import { matches, openLines, print, timeOf } from './log-lines.ts'
import type { Place } from './place.ts'

/**
 * Prints the lines of the files that a relay of that host keeps, each with its time. Answers the exit code, or why there
 * is nothing to be read there. The pattern is looked for here: one that takes for ever shall not keep an agent busy.
 */
export async function showKeptLog(
  fleet: Fleet,
  place: Place,
  { follow, grep, since, last, stopped }: LogOptions,
): Promise<number | RelayError> {
  const leaving = new AbortController()
  const withdrawn = Promise.withResolvers<never>()
  withdrawn.promise.catch(() => {})
  await using tunnels = openTunnels(fleet, { purpose: 'log', withdrawn: withdrawn.reject })
  /** Lines so far, as far as the next connection has to know of them: how many have the latest time. */
  let seen: { readonly time: string; count: number } | undefined

  const wish = () => (seen ? { since: seen.time, follow } : { since, last, follow })
  const connect = () => tunnels.open(place.log(wish()), leaving.signal)
  const isWanted = (line: string) => !grep || matches(line, grep)
  const showAll = async ({ stream }: Channel) => {
    const lines = openLines()
    const from = seen?.time
    let known = seen?.count ?? 0
    for await (const bytes of stream) {
      const shown: string[] = []
      for (const line of lines.complete(bytes)) {
        const time = timeOf(line)
        if (time !== undefined && time === from && known-- > 0) continue
        if (time !== undefined && time === seen?.time) seen.count++
        else if (time !== undefined) seen = { time, count: 1 }
        if (isWanted(line)) shown.push(line)
      }
      await print(shown.join(''))
    }
    // The rest of a line that somebody follows is still to come.
    const rest = lines.rest()
    if (!follow && rest !== '' && isWanted(rest)) await print(grep ? `${rest}\n` : rest)
  }

  let channel: Channel
  try {
    const first = await Promise.race([connect(), withdrawn.promise, stopped])
    // Who gives up before it stands need not wait for it.
    if (typeof first === 'number') return first
    channel = first
  } catch (thrown) {
    return RelayError.from(thrown, place.text)
  }
  const shown = (async () => {
    for (;;) {
      try {
        await using current = channel
        await showAll(current)
        if (!follow) return 0
      } catch (thrown) {
        const error = RelayError.from(thrown, place.text)
        if (!follow || isLasting(error)) throw error
      }
      if (leaving.signal.aborted) return 0
      note('the log was lost. Trying again')
      channel = await connectAgain(connect, place.text, note, leaving.signal)
      note('there again')
    }
  })()
  shown.catch(() => {})
  try {
    return await Promise.race([stopped, shown, withdrawn.promise])
  } finally {
    const gone = new RelayError('closed', { what: place.text, why: 'it is not needed any more' })
    leaving.abort(gone)
    channel.abort(gone)
    await shown.catch(() => {})
  }
}
