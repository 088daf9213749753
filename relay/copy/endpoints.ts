import type { Address } from '../address.ts'
import type { Channel, OpenContext } from '../endpoint.ts'
import { openInside } from '../endpoints/inside.ts'
import { RelayError } from '../errors.ts'
import type { ReceiveOptions } from './ground.ts'
import { openSource } from './open-source.ts'
import { receiveCopy } from './receiver.ts'
import { sendCopy } from './sender.ts'
import { openTarget } from './target.ts'

/** A channel that gives out a copy of what the scope names. */
export async function dialSend(scope: Address, cx: OpenContext): Promise<Channel> {
  checkOpening(scope, cx)
  const source = await openSource(scope, cx)
  return await served(scope, cx, source, far => sendCopy(source, far.stream))
}

/** A channel that takes a copy in, to what the scope names. */
export async function dialReceive(
  scope: Address,
  options: ReceiveOptions,
  cx: OpenContext,
): Promise<Channel> {
  checkOpening(scope, cx)
  const target = await openTarget(scope, cx)
  return await served(scope, cx, target, far => receiveCopy(target, options, far.stream, cx))
}

function checkOpening(scope: Address, { signal, egress }: OpenContext): void {
  if (signal.aborted) throw RelayError.from(signal.reason, scope.text)
  egress.check(scope)
}

/** What goes wrong has been said to the other side; whoever holds the channel hears of it in the end. */
async function served(
  scope: Address,
  cx: OpenContext,
  holds: AsyncDisposable,
  copy: (far: Channel) => Promise<void>,
): Promise<Channel> {
  let failed: RelayError | undefined
  try {
    const channel = openInside(scope, cx, far =>
      copy(far).catch(error => {
        failed = RelayError.from(error, scope.text)
      }),
    )
    return {
      ...channel,
      verdict: () => failed,
      async [Symbol.asyncDispose]() {
        await channel[Symbol.asyncDispose]()
        await holds[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await holds[Symbol.asyncDispose]()
    throw error
  }
}
