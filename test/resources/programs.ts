import { readFileSync } from 'node:fs'
import type { OpenContext } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import type { ProgramPolicy } from '#relay/programs/policy.ts'
import { openContext } from './contexts.ts'
import { receive } from './streams.ts'

export interface Said {
  readonly output: string
  /** What it wrote to standard error, by lines. */
  readonly errors: readonly string[]
  /** What it says of how it went. */
  readonly verdict: string | undefined
}

export interface Conversation {
  readonly input?: string | Buffer
  readonly rights?: ProgramPolicy['rights']
  readonly cx?: Partial<OpenContext>
}

/** Starts the program of this address, tells it all of the input, and waits until it is gone. */
export async function converse(
  address: string,
  { input = '', rights = 'confined', cx = {} }: Conversation = {},
): Promise<Said> {
  const errors: string[] = []
  const programs: ProgramPolicy = { rights, version: '1.2.3', said: ({ line }) => void errors.push(line) }
  const channel = await bindAddress(address).dialer!.dial(openContext({ programs, ...cx }))
  channel.stream.end(input)
  const output = await receive(channel.stream)
  await channel[Symbol.asyncDispose]()
  return { output: output.toString(), errors, verdict: channel.verdict?.()?.message }
}

/** Is this process there, and not a zombie? */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}
