import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Channel } from '#relay/endpoint.ts'
import { bindAddress } from '#relay/endpoints/index.ts'
import { socketChannel } from '#relay/endpoints/sockets.ts'
import { openContext } from './contexts.ts'
import { openFolder } from './folder.ts'

const bridge = join(import.meta.dirname, '../relay/programs/bridge.ts')

export interface Bridge extends AsyncDisposable {
  /** The program, as it was started. */
  readonly near: Channel
  /** The other end of what the program is connected to. */
  readonly far: Channel
}

/** A program that joins both ends; `options` are those of its address. */
export async function openBridge(wiring: 'socket' | 'pipes', options = ''): Promise<Bridge> {
  const folder = await openFolder()
  const path = join(folder.path, 's')
  const arrived = Promise.withResolvers<Channel>()
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, socket =>
    arrived.resolve(socketChannel(socket, { text: 'the bridge' })),
  )
  await new Promise<void>(resolve => server.listen(path, resolve))
  const command = `${process.execPath} ${bridge} ${path} ${wiring}`
  const near = await bindAddress(`EXEC:${command}${options}`).dialer!.dial(openContext())
  const far = await arrived.promise
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
      server.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}
