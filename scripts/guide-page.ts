import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const guide = join(import.meta.dirname, '../docs/guide')

/** The contents of the guide, as the titles of its pages have it. */
export function guidePage(): string {
  const pages = readdirSync(guide)
    .filter(name => name.endsWith('.md') && name !== 'README.md')
    .sort()
  const isJob = (name: string) => /^\d\d-/.test(name)
  const list = (names: string[]) => names.map(name => `- [${titleOf(name)}](${name})`).join('\n')
  return `# Guide

Jobs that people do with socat, and how fleetcat does them. A test types the commands of each page against real programs. This list is made
by \`npm run docs\`; the kinds of addresses and their options are in the [reference](../reference/addresses.md).

${list(pages.filter(isJob))}

What a fleet has beyond that:

${list(pages.filter(name => !isJob(name)))}
`
}

function titleOf(name: string): string {
  const title = /^# (.+)$/m.exec(readFileSync(join(guide, name), 'utf8'))?.[1]
  if (title === undefined) throw new Error(`docs/guide/${name} has no title`)
  return title
}
