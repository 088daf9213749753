import { readdirSync, readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'

/** A process of this host, when it was looked at. */
export interface HostProcess {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly session: number
  /** In ticks of the kernel since the host was started. */
  readonly startedAt: number
  /** The value of our variable in the environment that it was started with. */
  mark(): string | undefined
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

/** So many are looked at before others have their turn: these files cost microseconds, and waiting for them far more. */
const atATime = 64

async function lookAtAll(): Promise<readonly HostProcess[]> {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  const found: HostProcess[] = []
  for (let from = 0; from < pids.length; from += atATime) {
    if (from > 0) await turn()
    for (const pid of pids.slice(from, from + atATime)) {
      const process = lookAt(pid)
      if (process) found.push(process)
    }
  }
  return found
}

/** Undefined for what is gone or a zombie. */
export function lookAt(pid: string | number): HostProcess | undefined {
  const stat = contentOf(`/proc/${pid}/stat`)
  // Its name is in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state = '', parent, group, session] = fields
  if (state === '' || state === 'Z' || state === 'X') return undefined
  let marked: { readonly as: string | undefined } | undefined
  return {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startedAt: Number(fields[19]),
    mark() {
      marked ??= { as: markOf(contentOf(`/proc/${pid}/environ`)) }
      return marked.as
    },
  }
}

function markOf(environment: string): string | undefined {
  const begin = `${markName}=`
  const at = environment.startsWith(begin) ? 0 : environment.indexOf(`\0${begin}`) + 1
  if (at === 0 && !environment.startsWith(begin)) return undefined
  const end = environment.indexOf('\0', at)
  return environment.slice(at + begin.length, end < 0 ? undefined : end)
}

/** Empty for what is gone meanwhile, or is not ours to read. */
function contentOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
