import { hostPrefix } from '#wire/labels.ts'

export type Labels = Readonly<Record<string, string>>

/** In one order, whatever order they came in. */
export function sortedLabels(labels: Labels): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
}

export function equalLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length &&
    names.every(name => Object.hasOwn(b, name) && a[name] === b[name])
  )
}

/** The labels that the token gave, and under `host.` what the host says of itself. */
export function labelsOfAgent(given: Labels, host: Labels): Record<string, string> {
  const own = Object.entries(host).map(([name, value]) => [
    name.startsWith(hostPrefix) ? name : hostPrefix + name,
    value,
  ])
  return { ...Object.fromEntries(own), ...given }
}
