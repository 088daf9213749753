import { parseLabel } from '#wire/labels.ts'
import { usage } from './failure.ts'

/** What `--label` was given, each time. Throws a RelayError `usage`, also for a name that is given twice. */
export function parseLabels(texts: readonly string[], options?: { host?: boolean }): Record<string, string> {
  const labels = new Map<string, string>()
  for (const text of texts) {
    const [name, value] = parseLabel(text, options)
    const before = labels.get(name)
    if (before !== undefined) {
      throw usage(`--label ${text}`, `\`${name}\` is \`${before}\` already`, 'Keep one of the two')
    }
    labels.set(name, value)
  }
  return Object.fromEntries(labels)
}
