import { run } from './program.ts'

/** Which packets of a host go missing: those that it sends, those that it is sent, or both. */
export type Lost = 'sent' | 'received' | 'both'

const chains = { sent: ['output', 'oifname'], received: ['input', 'iifname'] } as const

/**
 * Drops packets without a word between a network namespace and the others, until it is disposed. Its own loopback
 * stays whole. Needs root.
 */
export async function dropPackets(netns: string, lost: Lost, percent = 100): Promise<AsyncDisposable> {
  const some = percent < 100 ? `numgen random mod 100 < ${percent} ` : ''
  const rules = (['sent', 'received'] as const)
    .filter(way => lost === way || lost === 'both')
    .map(way => {
      const [hook, interface_] = chains[way]
      return `add chain inet partition ${way} { type filter hook ${hook} priority 0; }
        add rule inet partition ${way} ${interface_} eth0 ${some}drop`
    })
  await nft(netns, ['add table inet partition', ...rules].join('\n'))
  let healed: Promise<void> | undefined
  return {
    [Symbol.asyncDispose]() {
      healed ??= nft(netns, 'delete table inet partition')
      return healed
    },
  }
}

async function nft(netns: string, script: string): Promise<void> {
  const { code, stderr } = await run(['nft', '-f', '-'], { netns, input: script })
  if (code !== 0) throw new Error(`nft in ${netns}: ${stderr}`)
}
