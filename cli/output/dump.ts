import { once } from 'node:events'
import type { WatchDumpResponse } from '#gen/fleetcat/v1/operator.ts'
import type { DumpFrame, Problem } from '#gen/fleetcat/v1/relay.ts'
import { formatDump } from '#relay/layers/dump-format.ts'
import { sanitise } from '#telemetry/sanitise.ts'
import { fromProblem } from '#wire/problem.ts'
import { exitCodes } from '../exit-codes.ts'
import { note } from '../failure.ts'
import { type DumpItem, directionWord, dumpFormatWord } from '../views/flow.ts'
import { time } from '../views/words.ts'
import { versioned } from './print.ts'
import { json } from './structured.ts'

export const dumpOutputs = ['text', 'jsonl', 'raw'] as const
export type DumpOutput = (typeof dumpOutputs)[number]

interface Style {
  readonly output?: DumpOutput
  readonly format?: DumpItem['format']
  /** There is no need to say at each piece of which connection it is. */
  readonly oneConnection: boolean
}

interface Shown {
  readonly relay: string
  readonly agent: string
  readonly format: DumpItem['format']
  readonly prefix: string
}

type Writer = (frame: DumpFrame, shown: Shown, style: Style) => string | Uint8Array

/**
 * Shows what comes, no faster than somebody reads it. Throws when no agent could show anything; sets the exit code when
 * only some could not. That what was shown has ended is no failure.
 */
export async function showDump(stream: AsyncIterable<WatchDumpResponse>, style: Style): Promise<void> {
  const agents = new Set<string>()
  const problems: Problem[] = []
  let relay = ''
  let format = style.format ?? 'both'
  for await (const { message } of stream) {
    if (message?.$case === 'begun') {
      relay = message.value.relay
      format = style.format ?? dumpFormatWord(message.value.format) ?? 'both'
      for (const agent of message.value.agents) agents.add(agent)
      note(`What passes through relay/${relay} on ${[...agents].join(', ')}; Ctrl-C ends it`)
    } else if (message?.$case === 'dump') {
      const { agent, frames } = message.value
      agents.add(agent)
      const prefix = agents.size > 1 ? `${sanitise(agent)} | ` : ''
      for (const frame of frames) {
        const text = writers[style.output ?? 'text'](frame, { relay, agent, format, prefix }, style)
        if (text.length > 0 && !process.stdout.write(text)) await once(process.stdout, 'drain')
      }
    } else if (message?.$case === 'ended' && message.value.problem) {
      problems.push(message.value.problem)
      note(fromProblem(message.value.problem).message)
    }
  }
  const failed = problems.filter(({ code }) => code !== 'closed' && code !== 'revoked')
  if (failed.length > 0 && failed.length < agents.size) process.exitCode = exitCodes.partial
  else if (failed[0]) throw fromProblem(failed[0])
}

const writers: Record<DumpOutput, Writer> = {
  text({ connectionId, direction, at, from, data, skipped }, { format, prefix }, { oneConnection }) {
    const entry = {
      direction: directionWord(direction) ?? 'forward',
      at: at?.getTime() ?? 0,
      from: Number(from),
      bytes: Buffer.from(data),
      ...(!oneConnection && { connectionId: sanitise(connectionId) }),
    }
    if (skipped > 0n) return `${prefix}… ${skipped} bytes not shown\n`
    const lines = formatDump(format, entry)
    return prefix ? lines.toString('latin1').replace(/^(?=.)/gm, prefix) : lines
  },

  jsonl({ connectionId, source, target, direction, at, from, data, skipped }, { relay, agent }) {
    const about = { kind: 'DumpFrame', agent, relay, at: time(at) }
    if (skipped > 0n) return json(versioned({ ...about, skipped: Number(skipped) }), { pretty: false })
    return json(
      versioned({
        ...about,
        connection: connectionId,
        source,
        target,
        direction: directionWord(direction) ?? null,
        from: Number(from),
        data: Buffer.from(data).toString('base64'),
      }),
      { pretty: false },
    )
  },

  raw({ data, skipped }) {
    if (skipped > 0n) note(`… ${skipped} bytes not shown`)
    return data
  },
}
