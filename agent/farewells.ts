import { RelayError } from '#relay/errors.ts'

/** The reasons of a controller's Goodbye after which this agent must not come back by itself. */
export function finalWord(reason: string, agent: string): RelayError | undefined {
  if (reason === 'fenced') {
    return new RelayError('conflict', {
      what: `agent ${agent} was fenced`,
      why: 'another agent with the same identity has attached since',
      fix: 'Give each host an identity of its own: on the copy remove the directory `identity` of its data directory, and join with a new token',
    })
  }
  if (reason === 'removed') {
    return new RelayError('revoked', {
      what: `agent ${agent} was removed`,
      why: 'an operator took it out of the fleet',
      fix: 'If that was a mistake, join again with a new token of `fleetcat token create agent`',
    })
  }
  return undefined
}

/** What the controller says to an agent that was revoked while it could not be told: it must close, and stay away. */
export function revokedMeanwhile(error: RelayError): RelayError | undefined {
  return error.code === 'revoked' ? error : undefined
}

/** Does the failure mean that the controller does not want us, so that asking often is of no use? */
export function isRejection({ code, why }: RelayError): boolean {
  if (code === 'unauthenticated' || code === 'denied' || code === 'revoked') return true
  return /\balert\b|certificate|self-signed/i.test(why)
}

export function adviceFor({ code, why, fix }: RelayError): string {
  if (fix) return fix
  if (/expired|not yet valid/i.test(why))
    return 'Compare the clocks of both hosts; an expired identity needs a new token: `fleetcat token create agent`'
  if (code === 'denied' || code === 'revoked')
    return 'Ask an operator: `fleetcat agents` shows whether this agent was revoked or removed'
  return 'Join again: stop the agent, remove the directory `identity` of its data directory, and start it with `--join` and a new token'
}

export function olderController(why: string): RelayError {
  return new RelayError('conflict', {
    what: 'the controller is older than what this agent has seen',
    why,
    fix: 'If its store was restored from a backup, run `fleetcat controller restore` there, which raises its epoch',
  })
}
