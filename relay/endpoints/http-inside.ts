import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Channel } from '../endpoint.ts'
import { startTimer } from '../timer.ts'

/** How long a client may take to say what it wants. */
const requestTimeoutMs = 10_000

/** Answers a GET or a HEAD. What it returns is awaited before the conversation counts as served. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

/** Serves one HTTP/1.1 request, whatever its path, and then says goodbye. Rejects as the answer does. */
export async function serveHttp({ stream }: Channel, answer: Answer): Promise<void> {
  const { promise: served, resolve, reject } = Promise.withResolvers<void>()
  const stopWaiting = startTimer(requestTimeoutMs, () => stream.destroy())
  let isAsked = false
  stream.once('close', () => {
    stopWaiting()
    if (!isAsked) resolve()
  })
  // The table of kinds is read by commands that serve nothing and shall start fast.
  const { createServer } = await import('node:http')
  // A check by hand need not name a host, which nothing here depends on.
  const server = createServer({ requireHostHeader: false }, async (request, response) => {
    stopWaiting()
    // What a client asks in the same breath as its first question is not answered.
    if (isAsked) return
    isAsked = true
    response.setHeader('connection', 'close')
    try {
      await respond(request, response, answer)
      resolve()
    } catch (error) {
      reject(error)
    }
  })
  // Without it Node says goodbye as soon as the client has said all, before the answer is ready.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.emit('connection', stream)
  await served
}

async function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): Promise<void> {
  if (request.method === 'GET' || request.method === 'HEAD') return await answer(request, response)
  const body = 'Only GET and HEAD are answered here.\n'
  const headers = { allow: 'GET, HEAD', 'content-type': 'text/plain', 'content-length': body.length }
  response.writeHead(405, headers).end(body)
}
