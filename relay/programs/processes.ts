import { readdir, readFile } from 'node:fs/promises'

/** A process of this host, when it was looked at. */
export interface HostProcess {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly session: number
  /** In ticks of the kernel since the host was started. */
  readonly startedAt: number
  /** The value of our variable in the environment that it was started with. */
  mark(): Promise<string | undefined>
}

/** Programs that we start, and what they start in turn, have it in their environment. */
export const markName = 'FLEETCAT_PROGRAM'

let current: Promise<unknown> = Promise.resolve()
let next: Promise<readonly HostProcess[]> | undefined

/** All that are alive. Who asks while others are being answered shares the next look with all who ask then. */
export function processes(): Promise<readonly HostProcess[]> {
  next ??= current.then(() => {
    const look = lookAtAll()
    current = look.catch(() => {})
    next = undefined
    return look
  })
  return next
}

async function lookAtAll(): Promise<readonly HostProcess[]> {
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name))
  const found = await Promise.all(pids.map(lookAt))
  return found.filter(each => each !== undefined)
}

/** Undefined for what is gone or a zombie. */
export async function lookAt(pid: string | number): Promise<HostProcess | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  // Its name is in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state = 'X', parent, group, session] = fields
  if (state === 'Z' || state === 'X') return undefined
  let marked: Promise<string | undefined> | undefined
  return {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startedAt: Number(fields[19]),
    mark() {
      marked ??= readMark(pid)
      return marked
    },
  }
}

async function readMark(pid: string | number): Promise<string | undefined> {
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')
  const begin = `${markName}=`
  return environment
    .split('\0')
    .find(variable => variable.startsWith(begin))
    ?.slice(begin.length)
}
