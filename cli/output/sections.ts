import { sanitise } from '#telemetry/sanitise.ts'

/** A titled part of what `describe` prints: fields, lines, or both. */
export interface Section {
  readonly title?: string
  readonly fields?: readonly (readonly [name: string, value: string | number | null | undefined])[]
  /** Already safe to print, e.g. a table. */
  readonly block?: string
}

/** Empty fields and empty sections are left out. */
export function sections(all: readonly Section[]): string {
  return all
    .map(({ title, fields = [], block = '' }) => {
      const shown = fields.filter(([, value]) => value !== null && value !== undefined && value !== '')
      const width = Math.max(0, ...shown.map(([name]) => name.length)) + 1
      const lines = shown.map(
        ([name, value]) => `${`${name}:`.padEnd(width)}  ${sanitise(String(value), 4_096)}\n`,
      )
      const body = lines.join('') + block
      if (body === '') return undefined
      return title ? `${title}\n${body.replace(/^(?=.)/gm, '  ')}` : body
    })
    .filter(text => text !== undefined)
    .join('\n')
}
