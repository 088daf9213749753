import { readdirSync, readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  /** Of the minute before: what else kept the machine busy. */
  readonly load: number
}

export function describeMachine(): Machine {
  const found = cpus()
  return {
    cpu: found[0]?.model.trim() || 'unknown',
    cores: found.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  }
}

/** What a process and its children hold, in bytes; pages that several share are shared out among them. */
export function memoryOf(pid: number): number {
  return treeOf(pid).reduce((sum, each) => sum + memoryOfOne(each), 0)
}

function memoryOfOne(pid: number): number {
  try {
    const kib = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]
    return Number(kib ?? 0) * 1024
  } catch {
    return 0 // it has ended since it was listed
  }
}

function treeOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(treeOf)]
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()
    return children ? children.split(' ').map(Number) : []
  } catch {
    return []
  }
}

const ticksPerSecond = 100

/** Seconds of CPU that a process and its children have used so far, those that have ended included. */
export function cpuSecondsOf(pid: number): number {
  return treeOf(pid).reduce((sum, each) => sum + cpuSecondsOfOne(each), 0)
}

function cpuSecondsOfOne(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [user, system, userOfEnded, systemOfEnded] = fields.slice(11, 15).map(Number)
    return (user! + system! + userOfEnded! + systemOfEnded!) / ticksPerSecond
  } catch {
    return 0 // it has ended since it was listed, and its parent counts it
  }
}

/**
 * The same of processes that stay and whose threads do, as exact as the kernel keeps it: the other counts in hundredths,
 * of which a slow line takes few.
 */
export function runSecondsOf(pid: number): number {
  return treeOf(pid).reduce((sum, each) => sum + runSecondsOfOne(each), 0)
}

function runSecondsOfOne(pid: number): number {
  const tasks = `/proc/${pid}/task`
  try {
    return readdirSync(tasks).reduce((sum, task) => {
      return sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[0]) / 1e9
    }, 0)
  } catch {
    return cpuSecondsOfOne(pid) // its kernel keeps no such count
  }
}
