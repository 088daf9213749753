import { arch, hostname, platform, release } from 'node:os'
import { checkLabel } from '#wire/labels.ts'

/** What the agent says of its host: os, arch, kernel, and its owner's labels. The controller shows it under `host.`. */
export function hostLabels(owner: Readonly<Record<string, string>>): Record<string, string> {
  const facts = { os: platform(), arch: arch(), kernel: release(), hostname: hostname() }
  const labels: Record<string, string> = {}
  for (const [name, text] of Object.entries(facts)) labels[name] = labelValue(text)
  return { ...labels, ...owner }
}

export function checkOwnerLabels(labels: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(labels)) checkLabel(name, text)
}

/** A kernel's release may hold characters that no selector could name: `6.1.0-13+deb12`. */
function labelValue(text: string): string {
  return text
    .replace(/[^a-z0-9._-]+/gi, '-')
    .slice(0, 63)
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/gi, '')
}
