import { sanitise } from '#telemetry/sanitise.ts'
import { type CopyPlan, sideText } from '../copy-sides.ts'
import type { CopyOutcome } from '../copying.ts'
import { bytes, span } from '../output/time.ts'

export interface CopyItem {
  readonly kind: 'Copy'
  readonly source: string
  readonly target: string
  readonly dryRun: boolean
  readonly files: number
  readonly bytes: number
  /** Of the files: what was there already. */
  readonly kept: number
  readonly directories: number
  readonly links: number
  /** Null for a dry run. */
  readonly sha256: string | null
  readonly refused: readonly { readonly path: string; readonly code: string; readonly why: string }[]
  /** Of a dry run. */
  readonly entries?: readonly CopyEntry[]
  readonly ms: number
}

interface CopyEntry {
  readonly path: string
  readonly type: string
  readonly size: number
  /** `new`, `replaced`, `there` or `refused`. */
  readonly is: string
}

export function copyItem({ source, target }: CopyPlan, outcome: CopyOutcome, dryRun: boolean): CopyItem {
  const { done, refused, ms } = outcome
  const { files, directories, links, kept } = done
  const entries = outcome.entries.map(({ path, type, size, is }) => ({ path, type, size, is }))
  return {
    kind: 'Copy',
    source: sideText(source, source.path),
    target: sideText(target, done.target),
    dryRun,
    files,
    bytes: done.bytes,
    kept,
    directories,
    links,
    sha256: done.sha256 || null,
    refused: refused.map(({ path, code, why }) => ({ path, code, why })),
    ...(dryRun && { entries }),
    ms,
  }
}

const words: Record<string, string> = { new: 'new', replaced: 'replace', there: 'there', refused: 'refused' }

/** The longest path that there is, and some room. */
const longest = 4_096

/** Paths are what others have called their files: a line each, and nothing that a terminal would obey. */
export const shownPath = (path: string): string => sanitise(path, longest)

export function describeCopy(item: CopyItem): string {
  const target = shownPath(item.target)
  const { files, kept, directories, links, ms, sha256, entries = [] } = item
  if (item.dryRun) {
    const lines = entries.map(
      ({ path, type, is }) =>
        `${(words[is] ?? is).padEnd(8)} ${shownPath(path)}${type === 'directory' ? '/' : ''}\n`,
    )
    return `${lines.join('')}nothing was copied; it would be ${target}\n`
  }
  const parts = [
    counted(files, 'file') + (kept > 0 ? ` (${kept.toLocaleString('en')} there already)` : ''),
    ...(directories > 0 ? [counted(directories, 'directory', 'directories')] : []),
    ...(links > 0 ? [counted(links, 'link')] : []),
    bytes(item.bytes),
  ]
  const rate = ms > 0 ? `, ${bytes((item.bytes * 1_000) / ms)}/s` : ''
  return `copied to ${target}: ${parts.join(', ')} in ${ms < 10_000 ? `${(ms / 1_000).toFixed(1)}s` : span(ms)}${rate}\nsha256 ${sha256}\n`
}

const counted = (n: number, one: string, many = `${one}s`) =>
  `${n.toLocaleString('en')} ${n === 1 ? one : many}`
