import type { Stats } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename } from 'node:path'

/** A program that has a device open, as far as this process may see it. */
export interface PortUser {
  readonly pid: number
  /** `minicom`; its number where it has gone meanwhile. */
  readonly program: string
}

/** All that have one of these devices open, this process left out, by their `rdev`. Others' programs only root sees. */
export async function portUsers(devices: ReadonlySet<number>): Promise<Map<number, PortUser[]>> {
  const users = new Map<number, PortUser[]>()
  const processes = await readdir('/proc').catch(() => [])
  for (const pid of processes.filter(name => /^\d+$/.test(name)).map(Number)) {
    if (pid === process.pid) continue
    for (const device of await devicesOf(pid)) {
      if (!devices.has(device)) continue
      const known = users.get(device) ?? []
      if (!known.some(user => user.pid === pid)) known.push({ pid, program: await programOf(pid) })
      users.set(device, known)
    }
  }
  return users
}

async function devicesOf(pid: number): Promise<Set<number>> {
  const found = new Set<number>()
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => [])
  for (const fd of descriptors) {
    const stats: Stats | undefined = await stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined)
    if (stats?.isCharacterDevice()) found.add(stats.rdev)
  }
  return found
}

/** The name of a process, as it was started. */
export async function programOf(pid: number): Promise<string> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return basename(command.split('\0')[0]!).replace(/\p{C}/gu, '') || `process ${pid}`
}

/** `minicom (pid 4711)` */
export function userText({ pid, program }: PortUser): string {
  return `${program} (pid ${pid})`
}
