import { readdirSync, readlinkSync } from 'node:fs'

/** The open descriptors of this process, one line each; where the system does not tell, it says so. */
export function descriptorLines(): string {
  try {
    const rows = readdirSync('/proc/self/fd')
      .map(Number)
      .sort((a, b) => a - b)
      .map(fd => `${String(fd).padStart(4)}: ${target(fd)}\n`)
    return `  FD  what\n${rows.join('')}`
  } catch {
    return 'this system does not tell which descriptors are open\n'
  }
}

function target(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return 'closed again (the directory that was read for this list)'
  }
}
