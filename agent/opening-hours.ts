import { type Hours, hoursAt, parseWindows, type Window } from '#wire/window.ts'

/** Whether a relay is open at a moment of the wall clock. Cheap enough to ask before each chunk of bytes. */
export type OpeningHours = (now: number) => Hours

/** None: it is always open. Of windows that make no sense there are none either: its plan is refused for them. */
export function openingHours(texts: readonly string[]): OpeningHours | undefined {
  const windows = readable(texts)
  if (windows.length === 0) return undefined
  let known: Hours & { readonly since: number } = { isOpen: false, since: 0, until: 0 }
  return now => {
    // A clock that was set back is asked anew too.
    if (now < known.since || now >= known.until) known = { ...hoursAt(windows, now), since: now }
    return known
  }
}

function readable(texts: readonly string[]): readonly Window[] {
  try {
    return parseWindows(texts)
  } catch {
    return []
  }
}
