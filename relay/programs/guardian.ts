import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { standardPath } from './find.ts'
import { markName } from './processes.ts'

/** The programs of this process have marks that begin with it. */
const family: string = randomUUID()

/** Waits for the end of whoever holds the other end of its input, and then for that of all that bear the mark. */
const script = `read -r _
for round in 1 2 3 4 5 6 7 8 9 10; do
  found=$(grep -las "${markName}=$0[.]" /proc/[0-9]*/environ)
  [ -n "$found" ] || exit 0
  for each in $found; do each=\${each#/proc/}; kill -KILL "\${each%/environ}"; done
  sleep 0.1
done`

let begun = false
let count = 0

/** A mark for one more program and all that it starts. */
export function newMark(): string {
  count++
  return `${family}.${count}`
}

/**
 * The kernel kills a confined program when this process dies, but not what the program has started. So a shell of a few
 * hundred kilobytes waits for that death, which no process can see coming by itself.
 */
export function beginGuarding(): void {
  if (begun || process.platform !== 'linux') return
  begun = true
  const guardian = spawn('/bin/sh', ['-c', script, family], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: standardPath },
    cwd: '/',
    detached: true,
  })
  // Without it programs still die with us, but not all that they have started.
  guardian.on('error', () => {})
  guardian.stdin.on('error', () => {})
  guardian.unref()
  ;(guardian.stdin as unknown as { unref(): void }).unref()
}
