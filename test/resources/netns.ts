import { randomBytes } from 'node:crypto'
import { run } from './program.ts'

/** Hosts of their own on one machine: network namespaces that see each other through one bridge. */
export interface Network extends AsyncDisposable {
  /** The names of the namespaces, and the address of each on the common network. */
  readonly hosts: readonly { readonly netns: string; readonly ip: string }[]
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await run(['ip', ...args])
  if (code !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}

/** Needs root. The bridge lives in a namespace too, so that nothing of the machine's own network is touched. */
export async function openNetwork(count: number): Promise<Network> {
  const tag = randomBytes(3).toString('hex')
  await using made = new AsyncDisposableStack()
  const namespace = async (name: string) => {
    await ip('netns', 'add', name)
    made.defer(() => ip('netns', 'del', name))
  }
  const bridge = `fc${tag}b`
  await namespace(bridge)
  await ip('-n', bridge, 'link', 'add', 'br0', 'type', 'bridge')
  await ip('-n', bridge, 'link', 'set', 'br0', 'up')
  const hosts: { netns: string; ip: string }[] = []
  for (let i = 0; i < count; i++) {
    const netns = `fc${tag}h${i}`
    const address = `10.99.0.${i + 1}`
    await namespace(netns)
    await ip('-n', netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `p${i}`, 'netns', bridge)
    await ip('-n', bridge, 'link', 'set', `p${i}`, 'master', 'br0', 'up')
    await ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    await ip('-n', netns, 'link', 'set', 'eth0', 'up')
    await ip('-n', netns, 'link', 'set', 'lo', 'up')
    hosts.push({ netns, ip: address })
  }
  const held = made.move()
  return { hosts, [Symbol.asyncDispose]: () => held.disposeAsync() }
}
