import { RelayError } from './errors.ts'

/**
 * A span of work and what it holds. Aborting it aborts all that was opened under it; disposing it aborts what is
 * still waiting, releases children and resources, the latest first, and unlinks it from its parent.
 */
export interface Scope extends AsyncDisposable {
  readonly signal: AbortSignal
  abort(reason: RelayError): void
  /** A scope inside this one. It forgets its parent when it is disposed, and its parent forgets it. */
  child(): Scope
  /** Disposes `resource` with the scope. Returns it. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T
  /** Runs `release` with the disposal of the scope. */
  defer(release: () => void | Promise<void>): void
}

const over = new RelayError('closed', { what: 'the wait', why: 'the work that it belonged to has ended' })

/** Opens a scope. With `parent`, the scope is aborted when that signal is, with the same reason. */
export function openScope(parent?: AbortSignal): Scope {
  if (!parent) return scope(noop)
  const onAbort = () => opened.abort(RelayError.from(parent.reason, 'the work'))
  const opened = scope(() => parent.removeEventListener('abort', onAbort))
  if (parent.aborted) onAbort()
  else parent.addEventListener('abort', onAbort, { once: true })
  return opened
}

/**
 * Children are kept in a Set and not as listeners of the parent's signal: `AbortSignal.any` keeps about 1 KB a call
 * alive for as long as the parent lives, and an EventTarget looks through all its listeners to add or to remove one.
 */
function scope(unlink: () => void): Scope {
  const controller = new AbortController()
  const children = new Set<Scope>()
  const resources = new AsyncDisposableStack()
  let disposal: Promise<void> | undefined

  const abort = (reason: RelayError) => {
    if (controller.signal.aborted) return
    controller.abort(reason)
    for (const child of children) child.abort(reason)
  }

  const dispose = async () => {
    unlink()
    abort(over)
    for (const child of [...children].reverse()) await child[Symbol.asyncDispose]()
    await resources.disposeAsync()
  }

  return {
    signal: controller.signal,
    abort,
    child() {
      const child: Scope = scope(() => children.delete(child))
      children.add(child)
      if (controller.signal.aborted) child.abort(controller.signal.reason)
      return child
    },
    use: resource => resources.use(resource),
    defer: release => resources.defer(release),
    [Symbol.asyncDispose]() {
      disposal ??= dispose()
      return disposal
    },
  }
}

function noop(): void {}
