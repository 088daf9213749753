import { openRepeats, type RepeatOptions } from '#telemetry/repeats.ts'
import type { Note } from './audit/note.ts'

/** What somebody else can bring about as often as they like. */
export interface Alerts extends Disposable {
  /** Noted at once; what follows of the same event about the same peer is noted together: see `Repeats`. */
  raise(about: string, note: Note): void
}

export function openAlerts(keep: (note: Note) => void, options: RepeatOptions = {}): Alerts {
  const repeats = openRepeats<Note>(
    (note, count) => keep({ ...note, fields: { ...note.fields, count } }),
    options,
  )
  return {
    raise: (about, note) => repeats.raise(note.event, about, note),
    [Symbol.dispose]: () => repeats[Symbol.dispose](),
  }
}
