import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Bench, Outcome } from './harness.ts'
import type { Machine } from './machine.ts'

const directory = join(import.meta.dirname, 'results')
const page = join(import.meta.dirname, '../../docs/performance.md')

/** One run of one bench, with what is needed to judge it. */
export interface Result extends Outcome {
  readonly name: string
  readonly title: string
  readonly about: string
  readonly date: string
  readonly machine: Machine
  readonly missing: readonly string[]
}

export const toResult = (
  { name, title, about }: Bench,
  outcome: Outcome,
  machine: Machine,
  missing: readonly string[],
): Result => ({ name, title, about, date: new Date().toISOString(), machine, missing, ...outcome })

/** Keeps every number, beside those of earlier runs. */
export async function keep(result: Result): Promise<void> {
  await mkdir(directory, { recursive: true })
  const file = `${result.name}-${result.date.replace(/[:.]/g, '-')}.json`
  await writeFile(join(directory, file), `${JSON.stringify(result, null, 2)}\n`)
}

export function tableOf({ columns, rows }: Pick<Result, 'columns' | 'rows'>): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = `|---|${'---:|'.repeat(columns.length - 1)}`
  return [line(columns), rule, ...rows.map(line)].join('\n')
}

/** Puts the table in its place in docs/performance.md; a bench that has none there yet gets one at the end. */
export async function publish(result: Result): Promise<void> {
  const text = await readFile(page, 'utf8')
  const [begin, end] = [`<!-- bench ${result.name} -->`, `<!-- /bench ${result.name} -->`]
  const section = `${begin}\n${sectionOf(result)}\n${end}`
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  const whole =
    from < 0 || to < from
      ? `${text.trimEnd()}\n\n${section}\n`
      : text.slice(0, from) + section + text.slice(to + end.length)
  await writeFile(page, whole)
}

function sectionOf({ title, about, date, machine, missing, versions = {}, ...table }: Result): string {
  const { cpu, cores, memoryGiB, kernel, node, load } = machine
  const facts = [
    date.slice(0, 10),
    `${cpu}, ${cores} cores, ${memoryGiB} GiB`,
    `Linux ${kernel}`,
    `Node ${node.slice(1)}`,
    ...Object.entries(versions).map(([program, version]) => `${program} ${version}`),
    `load before the run ${load}`,
  ]
  const lacking = missing.length > 0 ? `\n\nNot compared: ${missing.join('; ')}.` : ''
  return `### ${title}\n\n${about}\n\n${tableOf(table)}\n\n<sub>${facts.join(' · ')}</sub>${lacking}`
}
