import { sanitise } from '#telemetry/sanitise.ts'
import { note } from './failure.ts'
import { painter } from './output/colour.ts'
import { inPlace } from './output/in-place.ts'
import { isTabular, type OutputOptions, print, renderList, versioned } from './output/print.ts'
import { progress } from './output/progress.ts'
import { json } from './output/structured.ts'
import { probeBoard } from './probe-board.ts'
import type { ProbeOnlooker } from './probing.ts'
import { type ProbeItem, probes } from './views/probe.ts'
import { clock } from './views/revocation.ts'

/** Where rounds of a probe are seen. */
export interface ProbeDisplay extends ProbeOnlooker, Disposable {
  /** All have answered. */
  finish(items: readonly ProbeItem[]): Promise<void>
  /** What a person should know between two rounds. */
  notice(text: string): void
}

/** What stands above the rows of one that is repeated: `TCP4:db:5432 every 30s`. */
type Title = string | undefined

/**
 * On a terminal rows that fill in where they stand, of a repeated probe over those of the round before; with jsonl each
 * row as it comes; else each round when it is whole.
 */
export function openProbeDisplay(options: OutputOptions, title: Title): ProbeDisplay {
  if (options.output === 'jsonl') return lines()
  const isLive = isTabular(options) && process.stdout.isTTY && process.env.TERM !== 'dumb'
  return isLive ? live(options, title) : rounds(options)
}

function lines(): ProbeDisplay {
  return {
    begun() {},
    answered: item => print(json(versioned(item), { pretty: false })),
    async finish() {},
    notice: note,
    [Symbol.dispose]() {},
  }
}

function rounds(options: OutputOptions): ProbeDisplay {
  const waiting = progress()
  let open = 0
  let isFirst = true
  const say = () => waiting.say(`waiting for ${open} agents…`)
  return {
    begun(asked) {
      open = asked.length
      say()
    },
    answered() {
      open--
      say()
    },
    async finish(items) {
      waiting[Symbol.dispose]()
      const text = await renderList(items, probes, options)
      if (isTabular(options) && !isFirst) print('\n')
      print(options.output === 'yaml' && !isFirst ? `---\n${text}` : text)
      isFirst = false
    },
    notice: note,
    [Symbol.dispose]: () => waiting[Symbol.dispose](),
  }
}

/** Faster than this nobody reads. */
const drawAgainMs = 50

function live({ output, headers }: OutputOptions, title: Title): ProbeDisplay {
  const screen = inPlace()
  let items = new Map<string, ProbeItem>()
  let due: NodeJS.Timeout | undefined
  let footer = ''
  let startedAt = new Date()
  const heading = () =>
    title ? `${sanitise(title)}, last at ${clock(startedAt.toISOString())}; Ctrl-C ends it\n` : ''
  const style = () => ({
    wide: output === 'wide',
    headers,
    columns: process.stdout.columns || 80,
    paint: painter(process.stdout),
    now: Date.now(),
  })
  const draw = () => {
    due = undefined
    const below = footer && `${footer}\n`
    const taken = 1 + (title ? 1 : 0) + (footer ? 1 : 0)
    const room = Math.max(4, (process.stdout.rows || 24) - taken)
    screen.draw(`${heading()}${probeBoard([...items.values()], { ...style(), room })}${below}`)
  }
  const soon = () => {
    due ??= setTimeout(draw, drawAgainMs)
  }
  return {
    begun(asked) {
      startedAt = new Date()
      footer = ''
      items = new Map(asked.map(item => [item.agent, items.get(item.agent) ?? item]))
      soon()
    },
    answered(item) {
      items.set(item.agent, item)
      soon()
    },
    async finish(found) {
      clearTimeout(due)
      due = undefined
      if (title) return draw()
      screen.finish(probeBoard(found, { ...style(), room: Number.POSITIVE_INFINITY }))
    },
    notice(text) {
      footer = sanitise(text, 4_096)
      soon()
    },
    [Symbol.dispose]() {
      clearTimeout(due)
      screen[Symbol.dispose]()
    },
  }
}
