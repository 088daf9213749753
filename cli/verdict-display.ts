import { note } from './failure.ts'
import { painter } from './output/colour.ts'
import { inPlace } from './output/in-place.ts'
import { type Format, isTabular, print, renderItem, renderList } from './output/print.ts'
import { progress } from './output/progress.ts'
import { plainTable } from './readiness.ts'
import { board, type Order, wholeBoard } from './verdict-board.ts'
import { type RevocationItem, revocations } from './views/revocation.ts'

/** Where orders are seen while they are carried out. Disposed unfinished, what was seen last stays. */
export interface VerdictDisplay extends Disposable {
  /** How far an order has come. `waitsFor` says what else is awaited, when all agents have their verdicts. */
  show(order: Order, waitsFor?: string): void
  /** The answer, in the format that was asked for. */
  finish(orders: readonly Order[]): Promise<void>
}

/**
 * On a terminal a table that fills in; elsewhere only the answer, when there is one. A script reads a list or an object
 * by what it asked for, and not by how many were found.
 */
export function openVerdictDisplay(output: Format, { asList = false } = {}): VerdictDisplay {
  const isLive = isTabular({ output, headers: true }) && process.stdout.isTTY && process.env.TERM !== 'dumb'
  return interruptible(isLive ? liveBoard() : quiet(output, asList))
}

function liveBoard(): VerdictDisplay {
  const screen = inPlace()
  const orders = new Map<string, Order>()
  let waitsFor = ''
  let due: NodeJS.Timeout | undefined
  const text = (shown: readonly Order[], lines: number) => {
    const { rows, columns } = process.stdout
    const room = Math.max(4, (rows || 24) - 1 - lines)
    return board(shown, { room, columns: columns || 80, paint: painter(process.stdout), now: Date.now() })
  }
  const draw = () => {
    due = undefined
    screen.draw(`${text([...orders.values()], waitsFor ? 1 : 0)}${waitsFor && `${waitsFor}\n`}`)
  }
  // A fence passes by itself, and the screen may have another size by now.
  const again = setInterval(draw, 1_000).unref()
  const stop = () => {
    clearInterval(again)
    clearTimeout(due)
  }
  return {
    show(order, waits = '') {
      orders.set(order.revocation.id, order)
      waitsFor = waits
      due ??= setTimeout(draw, drawAgainMs)
    },
    async finish(shown) {
      stop()
      screen.finish(text(shown, 0))
    },
    [Symbol.dispose]() {
      stop()
      screen[Symbol.dispose]()
    },
  }
}

/** Faster than this nobody reads. */
const drawAgainMs = 50

function quiet(output: Format, asList: boolean): VerdictDisplay {
  const waiting = progress()
  return {
    show({ revocation }, waits) {
      const open = openReceipts(revocation)
      if (waits !== undefined || open > 0) waiting.say(waits ?? stillOpen(revocation, open))
    },
    async finish(orders) {
      waiting[Symbol.dispose]()
      const items = orders.map(({ revocation }) => revocation)
      const [first] = items
      const human = () => wholeBoard(orders, plainTable())
      if (isTabular({ output, headers: true })) print(human())
      else if (first && !asList) print(await renderItem(first, revocations.name(first), output, human))
      else print(await renderList(items, revocations, { output, headers: true }))
    },
    [Symbol.dispose]: () => waiting[Symbol.dispose](),
  }
}

const openReceipts = ({ receipts }: RevocationItem) =>
  receipts.filter(({ verdict }) => verdict === 'pending').length

const stillOpen = ({ target, receipts }: RevocationItem, open: number) =>
  `${target}: waiting for ${open} of ${receipts.length} agents…`

/** Whoever presses Ctrl-C does not take the order back, and should know it. */
function interruptible(display: VerdictDisplay): VerdictDisplay {
  const orders = new Map<string, string>()
  const remind = () => {
    if (!process.stderr.isTTY || orders.size === 0) return
    const [first = ''] = orders.values()
    const how = orders.size === 1 ? `fleetcat wait ${first} --for revoked` : 'fleetcat revocations'
    note(`The ${orders.size === 1 ? 'order stands' : 'orders stand'} all the same; see \`${how}\``)
  }
  process.once('exit', remind)
  return {
    show(order, waitsFor) {
      orders.set(order.revocation.id, order.revocation.target)
      display.show(order, waitsFor)
    },
    finish(all) {
      process.off('exit', remind)
      return display.finish(all)
    },
    [Symbol.dispose]() {
      process.off('exit', remind)
      display[Symbol.dispose]()
    },
  }
}
