import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'

/**
 * When a relay is open: `Mon-Fri 08:00-18:00 Europe/Paris`. A moment lies in the window if a clock on a wall in that zone
 * shows a day and a time in it; so an hour that the clocks skip is in no window, and one that they show twice is in twice.
 */
export interface Window {
  isOpen(at: number): boolean
  /** In how many minutes that may be otherwise, if the clocks there are not changed before. */
  minutesToBoundary(at: number): number
  /** How far the clocks there are ahead of UTC, in minutes. */
  offset(at: number): number
}

const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const dayMinutes = 1_440
const weekMinutes = 7 * dayMinutes
const minuteMs = 60_000
const mostWindows = 16
const example = 'Write for example `Mon-Fri 08:00-18:00 Europe/Paris` or `22:00-06:00 UTC`'

/** Throws a RelayError `usage` when one of them makes no sense. */
export function parseWindows(texts: readonly string[]): Window[] {
  if (texts.length <= mostWindows) return texts.map(parseWindow)
  throw new RelayError('usage', { what: 'windows', why: `${texts.length} are more than ${mostWindows}` })
}

/** Throws a RelayError `usage`. */
export function parseWindow(text: string): Window {
  const refuse = (why: string, fix = example) =>
    new RelayError('usage', { what: `window \`${text.slice(0, 80)}\``, why, fix })
  const words = text.trim().split(/\s+/)
  const isTimes = (word: string | undefined) => /^\d/.test(word ?? '')
  const dayText = isTimes(words[0]) ? undefined : words.shift()
  const [times = '', zone, ...rest] = words
  if (!isTimes(times)) throw refuse('it has no times')
  if (zone === undefined)
    throw refuse(
      'it does not say by the clocks of which zone',
      `Write \`${text.trim()} UTC\`, or a zone such as Europe/Paris`,
    )
  if (rest.length > 0) throw refuse(`\`${rest.join(' ')}\` is left over`)

  const chosen = dayText === undefined ? days.map((_, day) => day) : daysOf(dayText, refuse)
  const spans = times.split(',').map(each => spanOf(each, refuse))
  const bounds: { readonly from: number; readonly to: number }[] = []
  for (const day of chosen) {
    for (const { from, to } of spans) {
      const start = day * dayMinutes + from
      bounds.push({ from: start, to: start + to - from })
    }
  }
  const localMinute = clockOf(zone, refuse)
  const after = (from: number, to: number) => (to - from + weekMinutes) % weekMinutes
  const boundaries = [...new Set(bounds.flatMap(({ from, to }) => [from, to % weekMinutes]))]
  return {
    isOpen(at) {
      const now = localMinute(at)
      return bounds.some(({ from, to }) => after(from, now) < to - from)
    },
    minutesToBoundary(at) {
      const now = localMinute(at)
      return Math.min(...boundaries.map(boundary => after(now, boundary) || weekMinutes))
    },
    offset: at => after(utcMinute(at), localMinute(at)),
  }
}

type Refuse = (why: string, fix?: string) => RelayError

function daysOf(text: string, refuse: Refuse): number[] {
  const found = text.split(',').flatMap(part => {
    const [first = '', last = first, ...rest] = part.split('-')
    if (rest.length > 0) throw refuse(`\`${part}\` is no range of days`)
    const [from, to] = [dayOf(first, refuse), dayOf(last, refuse)]
    return Array.from({ length: ((to - from + 7) % 7) + 1 }, (_, i) => (from + i) % 7)
  })
  return [...new Set(found)]
}

function dayOf(word: string, refuse: Refuse): number {
  const day = days.indexOf(word.toLowerCase())
  if (day >= 0) return day
  throw refuse(
    `\`${word}\` is no day`,
    'Days are Mon, Tue, Wed, Thu, Fri, Sat, Sun, as in `Mon-Fri` or `Sat,Sun`',
  )
}

/** Minutes of the day; the end is after the beginning, and may be on the next day. */
function spanOf(text: string, refuse: Refuse): { from: number; to: number } {
  const [, ...parts] = /^(\d\d?):(\d\d)-(\d\d?):(\d\d)$/.exec(text) ?? []
  const [h1 = 99, m1 = 0, h2 = 99, m2 = 0] = parts.map(Number)
  const [from, to] = [h1 * 60 + m1, h2 * 60 + m2]
  if (m1 > 59 || m2 > 59 || from >= dayMinutes || to > dayMinutes)
    throw refuse(`\`${text}\` is not from one time of the day to another`)
  if (from === to) throw refuse(`\`${text}\` begins when it ends`, 'Write `00:00-24:00` for the whole day')
  return { from, to: to > from ? to : to + dayMinutes }
}

const utcMinute = (at: number) => {
  const date = new Date(at)
  return date.getUTCDay() * dayMinutes + date.getUTCHours() * 60 + date.getUTCMinutes()
}

/** What the clocks of a zone show: the minute of the week, which begins on Sunday. */
function clockOf(zone: string, refuse: Refuse): (at: number) => number {
  const format = formatOf(zone)
  if (!format) {
    const near = nearest(zone, Intl.supportedValuesOf('timeZone'))
    throw refuse(`there is no zone \`${zone}\``, near ? `Did you mean \`${near}\`?` : example)
  }
  return at => {
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]))
    const { weekday = '', hour, minute } = parts
    return days.indexOf(weekday.toLowerCase()) * dayMinutes + Number(hour) * 60 + Number(minute)
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone,
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    })
  } catch {
    return undefined
  }
}

/** Whether any window is open, and until when that stays so. */
export interface Hours {
  readonly isOpen: boolean
  /** The first moment at which it is otherwise, or at least a moment until which it is so. */
  readonly until: number
}

/** Every zone shows each time of its week within this. */
const farthestMinutes = 15 * dayMinutes

export function hoursAt(windows: readonly Window[], at: number): Hours {
  const isOpenAt = (moment: number) => windows.some(window => window.isOpen(moment))
  const isOpen = isOpenAt(at)
  let minute = Math.floor(at / minuteMs)
  const last = minute + farthestMinutes
  while (minute < last) {
    const step = Math.min(60, ...windows.map(window => window.minutesToBoundary(minute * minuteMs)))
    const next = minute + step
    const isChanged = windows.some(each => each.offset(minute * minuteMs) !== each.offset(next * minuteMs))
    // Where clocks are changed, any minute may be the one.
    for (let each = isChanged ? minute + 1 : next; each <= next; each++) {
      if (isOpenAt(each * minuteMs) !== isOpen) return { isOpen, until: each * minuteMs }
    }
    minute = next
  }
  return { isOpen, until: last * minuteMs }
}
