import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { resolve } from 'node:path'
import { RelayError } from '#relay/errors.ts'

/** What comes from a port, in a file of this host. */
export interface Recording extends AsyncDisposable {
  readonly path: string
  add(bytes: Buffer): void
}

/** Appends to the file. Rejects with a RelayError when it cannot; `failed` is told, once, of what goes wrong later. */
export async function openRecording(file: string, failed: (text: string) => void): Promise<Recording> {
  const path = resolve(file)
  const what = `the log ${path}`
  const stream = createWriteStream(path, { flags: 'a', mode: 0o600 })
  try {
    await once(stream, 'open')
  } catch (thrown) {
    throw RelayError.from(thrown, what)
  }
  stream.on('error', thrown => failed(`${RelayError.from(thrown, what).message}. Nothing more is logged`))
  return {
    path,
    add(bytes) {
      if (!stream.destroyed) stream.write(bytes)
    },
    async [Symbol.asyncDispose]() {
      if (stream.closed) return
      stream.end()
      await once(stream, 'close').catch(() => {})
    },
  }
}
