import { readdirSync, readlinkSync } from 'node:fs'
import { afterAll, afterEach, beforeEach } from 'vitest'

/**
 * Fails a test that leaves a socket, a timer, a child process, a watcher or an open file behind. What a `beforeAll`
 * opened is allowed for while its file runs, and must be gone when the file is done.
 */
const watched = new Set([
  'FSEventWrap',
  'FileHandle',
  'PipeWrap',
  'ProcessWrap',
  'StatWatcher',
  'TCPServerWrap',
  'TCPSocketWrap',
  'TTYWrap',
  'TLSWrap',
  'Timeout',
  'UDPWrap',
])

type Census = Map<string, number>

function census(): Census {
  const found: Census = new Map()
  const count = (kind: string) => found.set(kind, (found.get(kind) ?? 0) + 1)
  for (const kind of process.getActiveResourcesInfo()) if (watched.has(kind)) count(kind)
  for (const file of openFiles()) count(`open ${file}`)
  return found
}

/** Regular files only: sockets and pipes are counted by kind, and the module loader's own files come and go. */
function openFiles(): string[] {
  if (process.platform !== 'linux') return []
  const files: string[] = []
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      if (
        target.startsWith('/') &&
        !/^\/(dev|proc|sys)\/|node_modules|\.(ts|js|mjs|node|json)$/.test(target)
      ) {
        files.push(target)
      }
    } catch {
      // the descriptor of this very listing is closed by now
    }
  }
  return files
}

function surplus(now: Census, before: Census): string[] {
  return [...now]
    .filter(([kind, n]) => n > (before.get(kind) ?? 0))
    .map(([kind, n]) => `${kind} ×${n - (before.get(kind) ?? 0)}`)
}

async function settled(before: Census, where: string): Promise<void> {
  const deadline = performance.now() + 3_000
  for (;;) {
    const left = surplus(census(), before)
    if (left.length === 0) return
    if (performance.now() > deadline) throw new Error(`${where} left behind: ${left.join(', ')}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

const atStart = census()
let beforeTest: Census = atStart
beforeEach(() => {
  beforeTest = census()
})
afterEach(() => settled(beforeTest, 'this test'))
afterAll(() => settled(atStart, 'this test file'))
