import type { Duplex } from 'node:stream'
import { RelayError } from '../errors.ts'
import { type Batch, batch } from './batches.ts'
import { brokenOff, type Conversation, converse, scopeOf } from './conversation.ts'
import type { Judge } from './judge.ts'
import {
  type Answer,
  failure,
  type Kind,
  type Refused,
  type Sum,
  unintelligible,
  version,
} from './messages.ts'
import { readSmall, type Sent, sendLarge, sha256Of, smallBytes } from './source-file.ts'
import { type Entry, refusal, survey } from './survey.ts'
import { isHopeless } from './system.ts'
import { type TarWriter, tarWriter } from './tar-writer.ts'
import type { Tree } from './tree.ts'
import { wholeSum } from './whole-sum.ts'

/** What is copied. The tree is that of the directory itself, or of the one that the file is in. */
export interface Source {
  readonly kind: Kind
  /** What the copy is called if it goes into a directory. */
  readonly name: string
  readonly mode: number
  readonly mtimeMs: number
  readonly tree: Tree
  readonly judge: Judge
  /** Of one file: itself. */
  readonly only?: Entry
}

/** How many small files are read ahead. */
const ahead = 16

/**
 * Gives a copy out over the stream, to a receiver that is not trusted: all that it can say is how much of it it wants.
 * Resolves when the receiver has all, or has failed and said so. Rejects with a RelayError, which the receiver was told.
 */
export async function sendCopy(source: Source, stream: Duplex): Promise<void> {
  await using scope = scopeOf(stream)
  const conversation = converse(stream, scope.signal)
  const receiver = listenTo(conversation, scope.abort)
  try {
    const { kind, name, mode, mtimeMs } = source
    await conversation.say({ is: 'offer', version, kind, name, mode, mtimeMs })
    await sendAll(source, conversation, receiver, scope.signal)
  } catch (error) {
    const { aborted, reason } = scope.signal
    const failed = receiver.failure ?? RelayError.from(aborted ? reason : error, 'the copy')
    if (!receiver.failure) await conversation.say(failure(failed)).catch(() => {})
    throw failed
  } finally {
    stream.end()
    await receiver.heardOut
  }
}

interface Receiver {
  readonly accepted: Promise<{ readonly asks: boolean; readonly dryRun: boolean }>
  /** In the order of the list. */
  readonly answers: readonly Answer[]
  readonly done: Promise<void>
  /** What it has failed with, in its own words. */
  readonly failure: RelayError | undefined
  /** Calls back when there are more answers. */
  onAnswers: () => void
  /** Resolves when it says nothing more. Never rejects. */
  readonly heardOut: Promise<void>
}

function listenTo({ heard }: Conversation, onFailure: (error: RelayError) => void): Receiver {
  const accepted = Promise.withResolvers<{ asks: boolean; dryRun: boolean }>()
  const done = Promise.withResolvers<void>()
  const answers: Answer[] = []
  let failed: RelayError | undefined

  async function listen(): Promise<void> {
    for await (const piece of heard()) {
      if ('data' in piece) throw unintelligible('the receiver of a copy sent a tar stream')
      const { message } = piece
      switch (message.is) {
        case 'accept':
          if (message.version !== version) throw unintelligible(`it speaks version ${message.version}`)
          accepted.resolve(message)
          break
        case 'answers':
          for (const answer of message.answers) answers.push(answer)
          receiver.onAnswers()
          break
        case 'refused':
          break
        case 'done':
          done.resolve()
          break
        case 'failed':
          failed = new RelayError(message.code, message)
          throw failed
        default:
          throw unintelligible(`the receiver of a copy said \`${message.is}\``)
      }
    }
    throw brokenOff()
  }

  const receiver = {
    accepted: accepted.promise,
    answers,
    done: done.promise,
    get failure() {
      return failed
    },
    onAnswers: () => {},
    heardOut: listen().catch((error: RelayError) => {
      accepted.reject(error)
      done.reject(error)
      onFailure(error)
    }),
  }
  for (const promise of [receiver.accepted, receiver.done]) promise.catch(() => {})
  return receiver
}

async function sendAll(
  source: Source,
  conversation: Conversation,
  receiver: Receiver,
  signal: AbortSignal,
): Promise<void> {
  const { tree, judge, only, kind } = source
  const { asks, dryRun } = await receiver.accepted
  const refused: Refused[] = []
  const refuse = (entry: Refused) => void refused.push(entry)
  const entries = only ? [only] : await survey(tree, { judge, refuse, signal })
  const refusals = batch<Refused>(conversation, entries => ({ is: 'refused', entries }), textOfRefusal)
  for (const each of refused) await refusals.add(each)
  await refusals.flush()

  const files = entries.filter(({ type }) => type === 'file')
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  await conversation.say({ is: 'plan', files: files.length, bytes, entries: entries.length })
  const answers = asks ? await negotiate(entries, conversation, receiver, signal) : []
  if (dryRun) {
    await conversation.say({ is: 'end', files: 0, bytes: 0, sha256: '' })
    return await receiver.done
  }
  const tar = tarWriter(conversation)
  try {
    const sums = batch<Sum>(
      conversation,
      files => ({ is: 'sums', files }),
      ({ path }) => path,
    )
    const sent = await sendEntries({ entries, answers, tree, tar, sums, refusals, signal, kind })
    await tar.end()
    await sums.flush()
    await refusals.flush()
    await conversation.say({ is: 'end', ...sent })
    await receiver.done
  } finally {
    tar.destroy()
  }
}

const textOfRefusal = ({ path, why }: Refused) => path + why

/** Lists everything, and gets an answer for each entry. */
async function negotiate(
  entries: readonly Entry[],
  conversation: Conversation,
  receiver: Receiver,
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const list = batch<Entry>(
    conversation,
    some => ({
      is: 'list',
      entries: some.map(({ path, type, size, mtimeMs }) => ({ path, type, size, mtimeMs })),
    }),
    ({ path }) => path,
  )
  for (const entry of entries) await list.add(entry)
  await list.flush()
  await new Promise<void>((resolve, reject) => {
    const look = () => receiver.answers.length >= entries.length && resolve()
    receiver.onAnswers = look
    look()
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    if (signal.aborted) reject(signal.reason)
  })
  if (receiver.answers.length > entries.length) throw unintelligible('it answered more than it was asked')
  return receiver.answers
}

interface Sending {
  readonly entries: readonly Entry[]
  readonly answers: readonly Answer[]
  readonly tree: Tree
  readonly tar: TarWriter
  readonly sums: Batch<Sum>
  readonly refusals: Batch<Refused>
  readonly signal: AbortSignal
  readonly kind: Kind
}

async function sendEntries({ entries, answers, tree, tar, sums, refusals, signal, kind }: Sending) {
  const whole = wholeSum(kind)
  /** Of files with several paths. */
  const sumOf = new Map<string, string>()
  const linked = new Set(entries.flatMap(({ type, link }) => (type === 'link' && link ? [link] : [])))
  let files = 0
  let bytes = 0
  const small = readAhead(entries, tree)

  async function one(entry: Entry, index: number): Promise<void> {
    const answer = answers[index]
    if (answer?.is === 'refused') return
    if (entry.type === 'link') {
      const sha256 = sumOf.get(entry.link!)
      if (sha256 === undefined) throw leftOut(entry)
      await tar.entry(entry)
      whole.add(entry.path, sha256)
      return await sums.add({ path: entry.path, is: 'sent', size: 0, from: 0, sha256 })
    }
    if (entry.type !== 'file') return await tar.entry(entry)
    const sent = await sendFile(entry, await small.take(index), answer)
    if (sent.is === 'changed') await refusals.add(changed(entry))
    else {
      files++
      bytes += sent.size
      whole.add(entry.path, sent.sha256)
      if (linked.has(entry.path)) sumOf.set(entry.path, sent.sha256)
    }
    await sums.add({ path: entry.path, ...sent })
  }

  async function sendFile(
    entry: Entry,
    content: Buffer | undefined,
    answer: Answer | undefined,
  ): Promise<Sent> {
    if (!content) return await sendLarge(tree, entry, answer, tar, signal)
    const sha256 = sha256Of(content)
    const size = content.length
    if (answer?.is === 'there' && answer.sha256 === sha256) return { is: 'kept', size, from: size, sha256 }
    await tar.entry(entry, content)
    return { is: 'sent', size, from: 0, sha256 }
  }

  try {
    for (const [index, entry] of entries.entries()) {
      signal.throwIfAborted()
      try {
        await one(entry, index)
      } catch (error) {
        if (signal.aborted || isHopeless(error) || !isOfEntry(error)) throw error
        await refusals.add(refusal(entry.path, error))
      }
    }
  } finally {
    await small.over()
  }
  return { files, bytes, sha256: whole.digest() }
}

/** Small files in their order, a few of which are being read before they are asked for. */
function readAhead(entries: readonly Entry[], tree: Tree) {
  const reading = new Map<number, Promise<Buffer | undefined>>()
  let next = 0
  const readMore = (index: number) => {
    for (next = Math.max(next, index); next < entries.length && next <= index + ahead; next++) {
      const entry = entries[next]!
      if (entry.type !== 'file' || entry.size > smallBytes) continue
      const content = readSmall(tree, entry)
      content.catch(() => {})
      reading.set(next, content)
    }
  }
  return {
    /** Undefined for one that is not small. */
    take(index: number): Promise<Buffer | undefined> | undefined {
      readMore(index)
      const content = reading.get(index)
      reading.delete(index)
      return content
    },
    over: () => Promise.allSettled(reading.values()),
  }
}

/** Of the file system, about this entry: the others may fare better. What the far side does is about all. */
const isOfEntry = (error: unknown): boolean =>
  error instanceof RelayError ? error.code === 'conflict' : 'syscall' in (error as object)

function changed({ path }: Entry): Refused {
  return { path, code: 'conflict', why: 'it was changed while it was being read' }
}

function leftOut({ path, link }: Entry): RelayError {
  return new RelayError('conflict', { what: path, why: `it is the same file as ${link}, which was left out` })
}
