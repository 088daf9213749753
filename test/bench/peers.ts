import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import { accepting, find, outputOf, type Program, start } from './processes.ts'

/** Another relay of the trade, run as its manual says. */
export interface Peer {
  readonly name: string
  readonly program: string
  readonly version: string
  /** Leads `port` of the loopback to `target`, until the program is disposed. */
  open(port: number, target: number): Promise<Program & { readonly far?: number }>
}

/** How a peer is run for one kind of bench. */
export interface Known {
  readonly name: string
  readonly program: string
  readonly askVersion: readonly string[]
  /** It carries datagrams, so nobody can ask whether it accepts. */
  readonly datagrams?: true
  /** What its configuration looks like; programs without one are told by argument. */
  words(port: number, target: number, directory: string, beyond: number): Promise<readonly string[]>
  /** Its other half, for those that have one at each end: then `target` of `words` is its port, and leads `beyond`. */
  readonly far?: Pick<Known, 'program' | 'words'>
}

const socat = (name: string, extra: readonly string[]): Known => ({
  name,
  program: 'socat',
  askVersion: ['-V'],
  async words(port, target) {
    // Its own backlog of 5 would be what the connection bench measures.
    const listen = `TCP4-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,backlog=511`
    return [...extra, listen, `TCP4:127.0.0.1:${target}`]
  },
})

const haproxy: Known = {
  name: 'haproxy',
  program: 'haproxy',
  askVersion: ['-v'],
  async words(port, target, directory) {
    const file = join(directory, 'haproxy.cfg')
    await writeFile(
      file,
      `global
  maxconn 6000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:${port}
  server target 127.0.0.1:${target}
`,
    )
    return ['-db', '-f', file]
  },
}

const nginx: Known = {
  name: 'nginx stream',
  program: 'nginx',
  askVersion: ['-v'],
  async words(port, target, directory) {
    const file = join(directory, 'nginx.conf')
    const module = nginxModule
    await writeFile(
      file,
      `${existsSync(module) ? `load_module ${module};` : ''}
daemon off;
worker_processes auto;
pid ${directory}/nginx.pid;
error_log stderr crit;
events { worker_connections 8192; }
stream {
  server {
    listen 127.0.0.1:${port} backlog=511;
    proxy_pass 127.0.0.1:${target};
  }
}
`,
    )
    return ['-c', file, '-p', directory, '-e', 'stderr']
  },
}

export const nginxModule = '/usr/lib/nginx/modules/ngx_stream_module.so'

/** Those who carry TCP as it is. */
const ofTcp = [socat('socat', []), socat('socat -b 131072', ['-b', '131072']), haproxy, nginx]

/** The peers that this machine has; `missing` is told of the others. */
export async function findPeers(
  missing: (words: string) => void,
  known: readonly Known[] = ofTcp,
): Promise<Peer[]> {
  const found: Peer[] = []
  for (const each of known) {
    const path = find(each.program)
    const lacking = [each, each.far].find(half => half && !find(half.program))
    if (!path || lacking) missing(`${each.name}: ${lacking?.program} is not installed`)
    else if (each.program === 'nginx' && !(await knowsStreams(path)))
      missing(`${each.name}: its stream module is not installed`)
    else found.push(await peerAt(path, each))
  }
  return found
}

async function knowsStreams(path: string): Promise<boolean> {
  const options = await outputOf(path, ['-V'])
  return /--with-stream(?!\S)/.test(options) || existsSync(nginxModule)
}

async function peerAt(
  path: string,
  { name, program, askVersion, words, datagrams, far }: Known,
): Promise<Peer> {
  const version = /\d+\.\d+[\w.]*/.exec(await outputOf(path, askVersion))?.[0] ?? 'unknown'
  return {
    name,
    program,
    version,
    async open(port, target) {
      await using opening = new AsyncDisposableStack()
      const directory = await mkdtemp(join(tmpdir(), 'fleetcat-bench-'))
      opening.defer(() => rm(directory, { recursive: true, force: true }))
      const begin = async (command: string, half: Pick<Known, 'words'>, at: number, to: number) => {
        const running = opening.use(await start(command, await half.words(at, to, directory, target)))
        if (!datagrams) await accepting(at)
        return running.pid
      }
      const between = far ? await freePort() : target
      const farPid = far && (await begin(find(far.program)!, far, between, target))
      const pid = await begin(path, { words }, port, between)
      const held = opening.move()
      return {
        pid,
        ...(farPid !== undefined && { far: farPid }),
        [Symbol.asyncDispose]: () => held.disposeAsync(),
      }
    },
  }
}

export const versionsOf = (peers: readonly Peer[]): Record<string, string> =>
  Object.fromEntries(peers.map(({ program, version }) => [program, version]))
