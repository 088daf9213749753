import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { openDatagramSocket } from '../resources/datagram-sockets.ts'
import { openTestRelay } from '../resources/relays.ts'
import { openFakePort } from '../resources/serial/cables.ts'
import { openServer } from '../resources/servers.ts'

/** Somebody who talks through a relay. */
export interface Client extends AsyncDisposable {
  say(words: string): void
  heard(): string
}

/** What a relay of some kinds needs around it, and how to talk through it. */
export interface Setting extends AsyncDisposable {
  readonly listen: string
  readonly target: string
  readonly permit: readonly string[]
  talk(local: string): Promise<Client>
  /** All that has come out at the far end. */
  reached(): string
}

export interface Place {
  readonly folder: string
  /** Of a server: files. */
  readonly cert: string
  readonly key: string
}

const tcpListen = 'TCP4-LISTEN:0,bind=127.0.0.1,fork'
const portOf = (local: string) => Number(local.split(':').at(-1))

function clientOf(stream: Duplex, end: () => void | Promise<void>): Client {
  let heard = ''
  stream.on('data', chunk => {
    heard += chunk
  })
  stream.on('error', () => {})
  return {
    say: words => void (stream.writable && stream.write(words)),
    heard: () => heard,
    async [Symbol.asyncDispose]() {
      await end()
    },
  }
}

async function overSocket(socket: Duplex, ready: string): Promise<Client> {
  socket.on('error', () => {})
  await once(socket, ready)
  return clientOf(socket, async () => {
    if (socket.closed) return
    socket.destroy()
    await once(socket, 'close')
  })
}

const overTcp = (local: string) =>
  overSocket(connectTcp({ host: '127.0.0.1', port: portOf(local), noDelay: true }), 'connect')

/** A server that echoes, and remembers. */
async function echoServer(listen?: string) {
  let got = ''
  const serve = (socket: Socket) => {
    socket.resume().on('data', chunk => {
      got += chunk
      if (socket.writable) socket.write(chunk)
    })
  }
  if (listen === undefined) {
    const server = await openServer(serve)
    return { ...server, port: server.port, reached: () => got }
  }
  const server = createServer(serve).listen(listen)
  await once(server, 'listening')
  return { port: 0, reached: () => got, [Symbol.asyncDispose]: async () => void server.close() }
}

function overTcpTo(target: string, permit: readonly string[], reached: () => string): Setting {
  return { listen: tcpListen, target, permit, talk: overTcp, reached, async [Symbol.asyncDispose]() {} }
}

/** A port that echoes, and remembers what it was sent. */
async function echoPort() {
  const port = await openFakePort()
  let got = ''
  port.far.on('data', chunk => {
    got += chunk
    port.far.write(chunk)
  })
  return { path: port.path, reached: () => got, ...disposing(port) }
}

async function overPort(listen: string, options = ''): Promise<Setting> {
  const port = await echoPort()
  const permit = [`SERIAL:${port.path}`]
  const setting = overTcpTo(`SERIAL:${port.path}${options}`, permit, port.reached)
  return { ...setting, listen, ...disposing(port) }
}

/** By name: how it is set up. Tunnels, and consoles with them, have tests of their own. */
export const kinds: Readonly<Record<string, (place: Place) => Promise<Setting>>> = {
  async TCP() {
    const server = await echoServer()
    return { ...overTcpTo(`TCP4:127.0.0.1:${server.port}`, [], server.reached), ...disposing(server) }
  },
  async TLS({ cert, key }) {
    let got = ''
    const server = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, socket => {
      socket.on('error', () => {})
      socket.on('data', chunk => {
        got += chunk
        socket.write(chunk)
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    return {
      listen: `OPENSSL-LISTEN:0,bind=127.0.0.1,fork,verify=0,cert=${cert},key=${key}`,
      target: `OPENSSL:127.0.0.1:${port},verify=0`,
      permit: [`OPEN:${cert},rdonly`, `OPEN:${key},rdonly`],
      talk: local =>
        overSocket(
          connectTls({ host: '127.0.0.1', port: portOf(local), rejectUnauthorized: false }),
          'secureConnect',
        ),
      reached: () => got,
      async [Symbol.asyncDispose]() {
        server.close()
      },
    }
  },
  async 'UDP flow'() {
    let got = ''
    const server = await openDatagramSocket(text => {
      got += text
      return text
    })
    return {
      listen: 'UDP4-LISTEN:0,bind=127.0.0.1,fork',
      target: `UDP4:127.0.0.1:${server.port}`,
      permit: [],
      async talk(local) {
        const socket = await openDatagramSocket()
        return {
          say: words => void socket.send(words, portOf(local)),
          heard: () => socket.got.map(({ text }) => text).join(''),
          [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
        }
      },
      reached: () => got,
      ...disposing(server),
    }
  },
  async 'Unix socket'({ folder }) {
    const [entry, far] = [join(folder, 'in.sock'), join(folder, 'echo.sock')]
    const server = await echoServer(far)
    return {
      listen: `UNIX-LISTEN:${entry},fork`,
      target: `UNIX-CONNECT:${far}`,
      permit: [`UNIX-LISTEN:${entry}`, `UNIX-CONNECT:${far}`],
      talk: () => overSocket(connectTcp(entry), 'connect'),
      reached: server.reached,
      ...disposing(server),
    }
  },
  async file({ folder }) {
    const file = join(folder, 'file')
    const line = `OPEN:${file},creat,append,wronly`
    const reached = () => readFileSync(file, 'utf8')
    return overTcpTo(line, [line], reached)
  },
  async SOCKS() {
    const server = await echoServer()
    return {
      listen: 'SOCKS-LISTEN:0,bind=127.0.0.1,fork',
      target: 'ASKED',
      permit: ['ASKED:127.0.0.1:*'],
      async talk(local) {
        const socket = connectTcp({ host: '127.0.0.1', port: portOf(local), noDelay: true })
        await once(socket, 'connect')
        const request = Buffer.from([4, 1, 0, 0, 127, 0, 0, 1, 0])
        request.writeUInt16BE(server.port, 2)
        socket.write(request)
        await once(socket, 'data')
        return clientOf(socket, async () => {
          if (socket.closed) return
          socket.destroy()
          await once(socket, 'close')
        })
      },
      reached: server.reached,
      ...disposing(server),
    }
  },
  async PTY({ folder }) {
    const link = join(folder, 'tty')
    const server = await echoServer()
    return {
      listen: `PTY,link=${link},raw,echo=0,fork`,
      target: `TCP4:127.0.0.1:${server.port}`,
      permit: [`PTY,link=${link}`],
      async talk() {
        const child = spawn('socat', ['-', `FILE:${link},raw,echo=0`], { stdio: ['pipe', 'pipe', 'ignore'] })
        let heard = ''
        child.stdout.on('data', chunk => {
          heard += chunk
        })
        child.stdin.on('error', () => {})
        const gone = once(child, 'close')
        return {
          say: words => void (child.stdin.writable && child.stdin.write(words)),
          heard: () => heard,
          async [Symbol.asyncDispose]() {
            child.kill('SIGKILL')
            await gone
          },
        }
      },
      reached: server.reached,
      ...disposing(server),
    }
  },
  'serial port': () => overPort(tcpListen),
  'shared serial port': () => overPort(tcpListen, ',share'),
  'serial port over RFC 2217': () => overPort('RFC2217-LISTEN:0,bind=127.0.0.1,fork'),
  async 'serial port behind a server of RFC 2217'() {
    const port = await echoPort()
    const server = await openTestRelay({
      listen: 'RFC2217-LISTEN:0,bind=127.0.0.1,fork',
      targets: [`SERIAL:${port.path}`],
    })
    const target = `RFC2217:127.0.0.1:${server.port}`
    return {
      ...overTcpTo(target, [target], port.reached),
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]()
        await port[Symbol.asyncDispose]()
      },
    }
  },
  async 'program with a double-forked grandchild'({ folder }) {
    const script = join(import.meta.dirname, 'programs/double-fork.sh')
    const reached = () => orNothing(join(folder, 'said'))
    const line = `EXEC:/bin/sh ${script} ${folder}`
    return overTcpTo(line, [line], reached)
  },
}

/** The processes that programs of the last kind have started, by what they wrote down. */
export const familyIn = (folder: string): number[] =>
  orNothing(join(folder, 'family')).split('\n').filter(Boolean).map(Number)

function orNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function disposing(server: AsyncDisposable): AsyncDisposable {
  return { [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}
