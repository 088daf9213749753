import { extract, type Header } from 'tar-stream'
import { RelayError } from '../errors.ts'
import { unintelligible } from './messages.ts'

/** Takes a tar stream apart. */
export interface TarReader {
  /** Resolves when there is room for more. Rejects with what `enter` rejected with, or what is wrong with the stream. */
  write(bytes: Buffer): Promise<void>
  /** The stream has ended; resolves when its last entry has been entered. */
  end(): Promise<void>
  /** Lets go of it, wherever it is; resolves when nothing of it is being entered any more. */
  destroy(): Promise<void>
}

/** Called for one entry after the other; it has to take the whole body. */
export type Enter = (header: Header, body: AsyncIterable<Buffer>) => Promise<void>

/** `onFailure` is told at once what `write` rejects with when it is called next. */
export function tarReader(enter: Enter, onFailure: (error: RelayError) => void): TarReader {
  const tar = extract()
  let failed: RelayError | undefined
  let entering: Promise<void> = Promise.resolve()
  let wake: (() => void) | undefined
  const waiting = () =>
    new Promise<void>(resolve => {
      wake = resolve
    })
  const woken = () => {
    wake?.()
    wake = undefined
  }
  const fail = (error: unknown) => {
    if (failed) return
    failed = error instanceof RelayError ? error : unintelligible('its tar stream is damaged')
    onFailure(failed)
    woken()
  }

  tar.on('entry', (header, body, next) => {
    body.on('error', () => {})
    entering = enter(header, unbroken(body as AsyncIterable<Buffer>)).then(
      () => next(),
      error => {
        fail(RelayError.from(error, header.name))
        next(error)
      },
    )
  })
  tar.on('drain', woken)
  tar.on('error', fail)
  tar.on('close', woken)

  return {
    async write(bytes) {
      if (failed) throw failed
      if (!tar.write(bytes)) await waiting()
      if (failed) throw failed
    },
    async end() {
      const closed = new Promise<void>(resolve => tar.on('close', () => resolve()))
      if (!tar.destroyed) {
        tar.end(null)
        await closed
      }
      await entering
      if (failed) throw failed
    },
    async destroy() {
      failed ??= new RelayError('closed', { what: 'the copy' })
      tar.destroy(null)
      await entering
    },
  }
}

/** Whoever stops in the middle can go on from there: left to itself, that would end the whole stream. */
function unbroken(body: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const pieces = body[Symbol.asyncIterator]()
  return { [Symbol.asyncIterator]: () => ({ next: () => pieces.next() }) }
}
