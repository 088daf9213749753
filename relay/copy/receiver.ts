import type { Duplex } from 'node:stream'
import type { OpenContext } from '../endpoint.ts'
import { RelayError } from '../errors.ts'
import type { Scope } from '../scope.ts'
import { type Inventory, inventory } from './answers.ts'
import { batch } from './batches.ts'
import { brokenOff, type Conversation, converse, scopeOf } from './conversation.ts'
import type { Piece } from './frames.ts'
import { openGround, type ReceiveOptions } from './ground.ts'
import { openIntake, type Totals } from './intake.ts'
import {
  type Answer,
  failure,
  type Listed,
  type Message,
  type Refused,
  unintelligible,
  version,
} from './messages.ts'
import { tarReader } from './tar-reader.ts'
import type { Target } from './target.ts'

/**
 * Takes a copy in from the stream, from a sender that is not trusted. Resolves when the target has its name and the sender
 * was told. Rejects with a RelayError; then the target is as it was, but for the complete files of a directory that was there
 * before, and the sender was told, if it is still there.
 */
export async function receiveCopy(
  target: Target,
  options: ReceiveOptions,
  stream: Duplex,
  cx: Pick<OpenContext, 'egress'>,
): Promise<void> {
  await using scope = scopeOf(stream)
  const conversation = converse(stream, scope.signal)
  let told = false
  const senderFailed = (error: RelayError) => {
    told = true
    return error
  }
  try {
    await conversation.say(await takeIn({ target, options, conversation, cx, scope, senderFailed }))
  } catch (error) {
    const { aborted, reason } = scope.signal
    const failed = RelayError.from(aborted ? reason : error, target.named)
    if (!told) await conversation.say(failure(failed)).catch(() => {})
    throw failed
  } finally {
    stream.end()
    // What still comes is for nobody, and the sender must not wait for us to take it.
    stream.resume()
  }
}

interface Taking {
  readonly target: Target
  readonly options: ReceiveOptions
  readonly conversation: Conversation
  readonly cx: Pick<OpenContext, 'egress'>
  readonly scope: Scope
  senderFailed(error: RelayError): RelayError
}

async function takeIn(taking: Taking): Promise<Message> {
  const pieces = taking.conversation.heard()
  try {
    return await takeAll(taking, pieces)
  } finally {
    await pieces.return(undefined)
  }
}

async function takeAll(
  { target, options, conversation, cx, scope, senderFailed }: Taking,
  pieces: AsyncGenerator<Piece>,
): Promise<Message> {
  const { signal } = scope
  const offer = await next(pieces, senderFailed)
  if (!('message' in offer) || offer.message.is !== 'offer') throw unintelligible('it offered nothing')
  if (offer.message.version !== version) throw unintelligible(`it speaks version ${offer.message.version}`)
  await using ground = await openGround(target, offer.message, options, cx)
  const { dryRun = false, resume = false } = options
  const asks = dryRun || resume
  await conversation.say({ is: 'accept', version, target: ground.target, asks, dryRun })

  const refusals: Refused[] = []
  const refuse = (refused: Refused) => void refusals.push(refused)
  const tellRefusals = async () => {
    const told = batch<Refused>(
      conversation,
      entries => ({ is: 'refused', entries }),
      r => r.path + r.why,
    )
    for (const each of refusals.splice(0)) await told.add(each)
    await told.flush()
  }
  const has = inventory(ground, options, refuse, signal)
  const intake = openIntake({ offer: offer.message, ground, options, inventory: has, refuse })
  const tar = tarReader(intake.enter, scope.abort)
  try {
    for (;;) {
      const piece = await next(pieces, senderFailed)
      if (refusals.length > 0) await tellRefusals()
      if ('data' in piece) {
        if (dryRun) throw unintelligible('it sent something in a dry run')
        await tar.write(piece.data)
        continue
      }
      const { message } = piece
      switch (message.is) {
        case 'plan':
        case 'refused':
          break
        case 'list': {
          if (!asks) throw unintelligible('it listed what nobody had asked for')
          await conversation.say({ is: 'answers', answers: await answersTo(message.entries, has) })
          break
        }
        case 'sums':
          await intake.vouched(message.files)
          break
        case 'end': {
          await tar.end()
          const totals = dryRun ? nothing : await intake.finish(message.sha256)
          await tellRefusals()
          signal.throwIfAborted()
          if (!dryRun) await ground.settle()
          return { is: 'done', target: ground.target, ...totals }
        }
        default:
          throw unintelligible(`the sender of a copy said \`${message.is}\``)
      }
    }
  } catch (error) {
    await tar.destroy()
    await intake.abandon()
    throw error
  }
}

const atATime = 16

async function answersTo(entries: readonly Listed[], has: Inventory): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let from = 0; from < entries.length; from += atATime) {
    answers.push(...(await Promise.all(entries.slice(from, from + atATime).map(has.answer))))
  }
  return answers
}

const nothing: Totals = { files: 0, bytes: 0, kept: 0, directories: 0, links: 0, sha256: '' }

/** What comes next. Rejects when the sender has gone, or says that it has failed. */
async function next(
  pieces: AsyncGenerator<Piece>,
  senderFailed: (error: RelayError) => RelayError,
): Promise<Piece> {
  const { value, done } = await pieces.next()
  if (done) throw brokenOff()
  if ('message' in value && value.message.is === 'failed') {
    throw senderFailed(new RelayError(value.message.code, value.message))
  }
  return value
}
