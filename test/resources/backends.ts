import { createServer, type RequestListener } from 'node:http'
import { exchange, openServer, type TestServer } from './servers.ts'

/** A backend that says its name to whoever connects, and that can die and come back on the same port. */
export interface Backend extends AsyncDisposable {
  readonly port: number
  readonly target: string
  die(): Promise<void>
  live(): Promise<void>
  /** How often it was connected to. */
  readonly met: number
}

export async function openBackend(name: string): Promise<Backend> {
  let met = 0
  const serve = (port = 0) =>
    openServer(
      socket => {
        met++
        socket.resume().write(name)
        socket.once('end', () => socket.end())
      },
      { port },
    )
  let server: TestServer | undefined = await serve()
  const { port } = server
  const die = async () => {
    await server?.[Symbol.asyncDispose]()
    server = undefined
  }
  return {
    port,
    target: `TCP4:127.0.0.1:${port}`,
    die,
    async live() {
      server ??= await serve(port)
    },
    get met() {
      return met
    },
    [Symbol.asyncDispose]: die,
  }
}

/** Who answers so many clients, one after the other. */
export async function askTimes(port: number, times: number): Promise<string[]> {
  const answers: string[] = []
  for (let i = 0; i < times; i++) answers.push(await exchange(port, ''))
  return answers
}

export type HttpBackend = TestServer & { readonly target: string }

export async function openHttpBackend(answer: RequestListener): Promise<HttpBackend> {
  const http = createServer(answer)
  const server = await openServer(socket => {
    http.emit('connection', socket)
    socket.resume()
  })
  return { ...server, target: `TCP4:127.0.0.1:${server.port}` }
}
