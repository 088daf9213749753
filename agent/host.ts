import { arch, hostname, platform, release } from 'node:os'
import { RelayError } from '#relay/errors.ts'
import { checkLabel, mostHostLabels } from '#wire/labels.ts'

/** What the agent says of its host: os, arch, kernel, and its owner's labels. The controller shows it under `host.`. */
export function hostLabels(owner: Readonly<Record<string, string>>): Record<string, string> {
  const facts = { os: platform(), arch: arch(), kernel: release(), hostname: hostname() }
  const labels: Record<string, string> = {}
  for (const [name, text] of Object.entries(facts)) labels[name] = labelValue(text)
  return { ...labels, ...owner }
}

/** Throws a RelayError `usage` for what a controller would not take. */
export function checkOwnerLabels(owner: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(owner)) checkLabel(name, text)
  const count = Object.keys(hostLabels(owner)).length
  if (count <= mostHostLabels) return
  throw new RelayError('usage', {
    what: 'the labels of this host',
    why: `there are ${count}, with the ${count - Object.keys(owner).length} that the agent adds, and the controller takes ${mostHostLabels}`,
    fix: 'Leave out some of --label or under `labels:` in agent.yaml',
  })
}

/** A kernel's release may hold characters that no selector could name: `6.1.0-13+deb12`. */
function labelValue(text: string): string {
  return text
    .replace(/[^a-z0-9._-]+/gi, '-')
    .slice(0, 63)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/gi, '')
}
