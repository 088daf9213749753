import { readlink, stat } from 'node:fs/promises'
import { RelayError } from '#relay/errors.ts'
import type { LineSettings } from '#relay/serial/port.ts'
import type { Fleet } from '../client.ts'
import { note } from '../failure.ts'
import { type Attached, openAttached } from './attached.ts'
import { inWords } from './line-words.ts'
import type { Place } from './place.ts'
import type { Reservation } from './reservation.ts'
import { openVirtualPort, type VirtualLine, type VirtualPort } from './virtual-port.ts'

/** A port of another host as one of this host. */
export interface RemotePty extends AsyncDisposable {
  /** What programs open. */
  readonly path: string
  /** Rejects with what ends it. */
  readonly over: Promise<never>
  /** Resolves when no program has it open any more, and all that was written has gone on its way. */
  unused(): Promise<void>
}

export interface RemotePtyOptions extends Reservation {
  readonly purpose: string
  readonly link?: string | undefined
  readonly quiet: boolean
  /** Only to write: see `AttachedOptions`. */
  readonly mustWrite?: boolean
}

const unknownLine: Required<LineSettings> = { baud: 9_600, data: 8, parity: 'none', stop: 1, flow: 'none' }

/** Rejects with a RelayError when there is no such port, and then holds nothing. */
export async function openRemotePty(
  fleet: Fleet,
  place: Place,
  options: RemotePtyOptions,
): Promise<RemotePty> {
  const { purpose, wish, ttlMs, waitMs, link, quiet, mustWrite } = options
  if (link !== undefined) await checkFree(link)
  await using opening = new AsyncDisposableStack()
  let virtual: VirtualPort | undefined
  /** What a program has set last: a device that comes back does not know it. */
  let wanted: VirtualLine | undefined
  const attached: Attached = opening.use(
    await openAttached(fleet, place, {
      ...{ purpose, wish, ttlMs, waitMs, mustWrite },
      received: bytes => virtual?.give(bytes),
      told: note,
      async connected(_remote, again) {
        if (again && wanted) await setLine(attached, place, wanted, quiet)
      },
    }),
  )
  const { standing } = attached.remote ?? {}
  virtual = opening.use(
    await openVirtualPort(
      {
        line: standing?.line ?? unknownLine,
        ...(link !== undefined && { link }),
        changed(line) {
          wanted = line
          void setLine(attached, place, line, quiet)
        },
        async written(bytes) {
          await attached.remote?.write(bytes)
        },
        used() {},
      },
      place.text,
    ),
  )
  if (standing && !standing.writes) note('you only watch: what programs write goes nowhere')
  const port = virtual
  const held = opening.move()
  return {
    path: link ?? port.path,
    over: attached.over,
    unused: () => port.unused(),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

/** A link of socat's gives way to the next; whoever works through this one would lose his port. */
async function checkFree(link: string): Promise<void> {
  const target = await readlink(link).catch(() => undefined)
  const isThere = target !== undefined && (await stat(target).catch(() => undefined)) !== undefined
  if (!isThere) return
  throw new RelayError('conflict', {
    what: `link ${link}`,
    why: `it is there already, and leads to ${target}`,
    fix: 'Choose another path, or remove it if nobody uses it',
  })
}

/** What a program has set of its own port, the real one gets too, as far as it can. */
async function setLine(attached: Attached, place: Place, wanted: VirtualLine, quiet: boolean): Promise<void> {
  const { remote } = attached
  const now = remote?.standing.line
  if (!remote || !now) return
  const changes = Object.entries(wanted).filter(([name, value]) => now[name as keyof VirtualLine] !== value)
  if (changes.length === 0) return
  if (!remote.standing.writes) return note('a program sets the line, but only who writes can')
  try {
    const has = { ...now, ...(await remote.set(Object.fromEntries(changes))) }
    if (!quiet) note(`${place.text} is set to ${inWords(has)}`)
    const missed = changes.filter(([name, value]) => has[name as keyof VirtualLine] !== value)
    if (missed.length > 0) note(`the port cannot have ${missed.map(each => each.join(' ')).join(', ')}`)
  } catch (thrown) {
    note(RelayError.from(thrown, place.text).message)
  }
}
