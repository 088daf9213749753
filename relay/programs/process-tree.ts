import { setTimeout as sleep } from 'node:timers/promises'
import { type HostProcess, lookAt, processes } from './processes.ts'

/** A program and all that came of it, wherever that has gone to. */
export interface ProcessTree {
  /** Ends all of it. With `politeMs`, SIGTERM goes first, and those who obey have so long. Resolves when all are gone. */
  end(politeMs: number): Promise<void>
}

export interface Root {
  readonly pid: number
  readonly mark: string
  /** It leads a session or a group of its own. */
  readonly leads: boolean
  isOver(): boolean
}

const longestPauseMs = 200

/**
 * Children are found by their parents. Who has lost those, as daemons do on purpose, is found by the session, the group or
 * the mark in the environment, whatever of these is left.
 */
export function processTree(root: Root): ProcessTree {
  if (process.platform !== 'linux') return { end: politeMs => endGroup(root, politeMs) }
  const rootLook = lookAt(root.pid)

  async function members(): Promise<HostProcess[]> {
    const all = await processes()
    const { startedAt = 0 } = rootLook ?? {}
    const candidates = all.filter(each => each.startedAt >= startedAt && each.pid !== process.pid)
    const reused = root.isOver() && candidates.some(({ pid }) => pid === root.pid)
    const belongs = (each: HostProcess) => {
      if (each.pid === root.pid) return !root.isOver()
      if (root.leads && !reused && (each.session === root.pid || each.group === root.pid)) return true
      return each.mark() === root.mark
    }
    const found = new Set(candidates.filter(belongs))
    const pids = new Set([...found].map(({ pid }) => pid))
    for (let before = -1; before < pids.size; ) {
      before = pids.size
      for (const each of candidates) {
        if (!pids.has(each.pid) && pids.has(each.parent)) {
          pids.add(each.pid)
          found.add(each)
        }
      }
    }
    return [...found]
  }

  async function end(politeMs: number): Promise<void> {
    const begun = performance.now()
    for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const alive = await members()
      if (alive.length === 0) return
      const left = politeMs - (performance.now() - begun)
      const isFirst = pauseMs === 2
      if (left <= 0 || isFirst) for (const { pid } of alive) signal(pid, left > 0 ? 'SIGTERM' : 'SIGKILL')
      await sleep(left > 0 ? Math.min(pauseMs, left) : pauseMs)
    }
  }

  return { end }
}

/** Where processes cannot be listed only those are found that stay together. */
async function endGroup(root: Root, politeMs: number): Promise<void> {
  const target = root.leads ? -root.pid : root.pid
  const begun = performance.now()
  for (let sent: NodeJS.Signals | undefined; ; ) {
    const wanted = performance.now() - begun < politeMs ? 'SIGTERM' : 'SIGKILL'
    if (!signal(target, sent === wanted ? 0 : wanted)) return
    sent = wanted
    await sleep(10)
  }
}

/** False if there is nobody. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name)
    return true
  } catch {
    return false
  }
}
