import type { View } from './view.ts'

/** `write`: as soon as nobody else does. `watch`: never. `take-over`: now, and whoever wrote watches from then on. */
export type SharedMode = 'write' | 'watch' | 'take-over'

/** One of those who share a port. */
export interface Member {
  readonly who: string
  readonly mode: SharedMode
  readonly view: View
  /** Somebody has come or gone, or writes now, or the device has. Must not throw. */
  readonly changed?: (() => void) | undefined
  /** It writes in the place of somebody else, who did until now. Must not throw. */
  readonly tookOver?: ((former: string) => void) | undefined
}

/** Those who share a port, and which of them writes. Each is told what changes for him, and `note` all of it. */
export interface Members {
  readonly all: readonly Member[]
  readonly writer: Member | undefined
  join(member: Member): void
  /** The writing passes to whoever has waited longest for it. */
  leave(member: Member): void
  takeOver(member: Member): void
  /** Tells somebody who does not write, once, that what he writes goes nowhere. */
  refuse(member: Member): void
  tellAll(text: string): void
  /** What all can ask about the port is otherwise now. */
  changed(): void
}

export function openMembers(note: (text: string) => void): Members {
  const all: Member[] = []
  const told = new WeakSet<Member>()
  let writer: Member | undefined

  const changed = () => {
    for (const member of all) member.changed?.()
  }
  const appoint = (member: Member | undefined) => {
    writer = member
    changed()
    if (!member) return
    told.delete(member)
    note(`${member.who} writes`)
  }
  const takeOver = (member: Member) => {
    if (writer === member) return
    const former = writer
    appoint(member)
    if (!former) return
    former.view.tell(`${member.who} has taken over; what you write goes nowhere`)
    told.add(former)
    member.tookOver?.(former.who)
  }

  return {
    all,
    get writer() {
      return writer
    },
    join(member) {
      all.push(member)
      note(`${member.who} is here`)
      if (member.mode === 'take-over' || (member.mode === 'write' && !writer)) takeOver(member)
      else changed()
      if (writer !== member)
        member.view.tell(writer ? `watching; ${writer.who} writes` : 'watching; nobody writes')
    },
    leave(member) {
      all.splice(all.indexOf(member), 1)
      note(`${member.who} has left`)
      if (writer !== member) return changed()
      appoint(all.find(({ mode }) => mode !== 'watch'))
      writer?.view.tell('you may write now')
    },
    takeOver,
    refuse(member) {
      if (told.has(member)) return
      told.add(member)
      member.view.tell(`${writer?.who ?? 'nobody'} writes; what you write goes nowhere`)
    },
    tellAll(text) {
      note(text)
      for (const { view } of all) view.tell(text)
    },
    changed,
  }
}
