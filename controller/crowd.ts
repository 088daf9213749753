import { canonicalIp } from '#relay/ip.ts'

/**
 * Guests by where they come from. When there are too many, whoever has to go is of the source that holds most places,
 * so that one box can crowd out nobody but itself.
 */
export interface Crowd<Guest> {
  readonly size: number
  add(source: string, guest: Guest): void
  delete(guest: Guest): boolean
  /** The sources with the most guests first; of each, its guests in the order of arrival. */
  bySource(): Iterable<ReadonlySet<Guest>>
}

export function openCrowd<Guest>(): Crowd<Guest> {
  const sources = new Map<string, Set<Guest>>()
  const homes = new Map<Guest, string>()
  return {
    get size() {
      return homes.size
    },
    add(source, guest) {
      const guests = sources.get(source) ?? new Set()
      sources.set(source, guests.add(guest))
      homes.set(guest, source)
    },
    delete(guest) {
      const source = homes.get(guest)
      if (source === undefined) return false
      homes.delete(guest)
      const guests = sources.get(source)
      guests?.delete(guest)
      if (guests?.size === 0) sources.delete(source)
      return true
    },
    *bySource() {
      const fullest = largest(sources.values())
      if (!fullest) return
      yield fullest
      // Only a fullest source that may lose nobody makes it worth the while to sort the others.
      yield* [...sources.values()].filter(each => each !== fullest).sort((a, b) => b.size - a.size)
    },
  }
}

function largest<T>(sets: Iterable<ReadonlySet<T>>): ReadonlySet<T> | undefined {
  let found: ReadonlySet<T> | undefined
  for (const each of sets) if (!found || each.size > found.size) found = each
  return found
}

/** One IPv4 address, or the /64 of an IPv6 address: so many addresses any IPv6 host has to itself. */
export function sourceOf(address: string | undefined): string {
  const ip = canonicalIp(address ?? '')
  if (ip === undefined) return ''
  if (!ip.includes(':')) return ip
  const [head = '', tail] = ip.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const [before, after] = [groups(head), groups(tail ?? '')]
  const gap: string[] = tail === undefined ? [] : Array(8 - before.length - after.length).fill('0')
  return `${[...before, ...gap, ...after].slice(0, 4).join(':')}::/64`
}
