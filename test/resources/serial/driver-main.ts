import { createInterface } from 'node:readline'
import { RelayError } from '#relay/errors.ts'
import { openPort, type PortOptions } from '#relay/serial/open-port.ts'
import type { ModemLines } from '#relay/serial/port.ts'
import { sendBreak } from '#relay/serial/send-break.ts'
import { openContext } from '../contexts.ts'

/** The other half of `driver.ts`: opens a port, and does with it what each line of stdin says. */
const [path = '', options = '{}'] = process.argv.slice(2)
const tell = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)

function told(error: unknown): object {
  return error instanceof RelayError
    ? { code: error.code, message: error.message }
    : { message: String(error) }
}

try {
  const port = await openPort(path, JSON.parse(options) as PortOptions, openContext())
  let received = ''
  port.stream.on('data', bytes => {
    received += bytes.toString('latin1')
  })
  port.stream.on('error', error => tell({ failed: told(error) }))
  const changes: [ModemLines, ModemLines][] = []
  let unwatch = () => {}
  const more = {
    settings: () => port.settings,
    write: (text: string) =>
      new Promise<void>(done => port.stream.write(Buffer.from(text, 'latin1'), () => done())),
    received: () => received,
    sendBreak: (ms: number) => sendBreak(port, { ms }),
    pause: () => void port.stream.pause(),
    resume: () => void port.stream.resume(),
    watch: () => {
      unwatch = port.onModem((now, before) => changes.push([now, before]))
    },
    unwatch: () => unwatch(),
    changes: () => changes,
    close: async () => {
      await port[Symbol.asyncDispose]()
    },
  }
  tell({ open: port.settings })
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, name, args } = JSON.parse(line)
    const call = (more as never)[name] ?? (port as never)[name]
    try {
      tell({ id, value: (await (call as (...all: unknown[]) => unknown).apply(port, args)) ?? null })
    } catch (error) {
      tell({ id, error: told(error) })
    }
  }
} catch (error) {
  tell({ refused: told(error) })
}
