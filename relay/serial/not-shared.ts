import { RelayError } from '../errors.ts'
import { findDevice } from './device.ts'
import { heldPort, inUse } from './locks.ts'

/** Why nobody can join others at a port that is not shared now. Rejects with a RelayError when there is no such port. */
export async function notShared(path: string, what: string): Promise<RelayError> {
  const { rdev } = await findDevice(path, what)
  const { holder } = heldPort(rdev) ?? {}
  if (holder !== undefined) return inUse(what, holder)
  return new RelayError('not-found', {
    what,
    why: 'nobody has the port open through fleetcat, so nothing of it is remembered',
    fix: `Create a relay with a target like SERIAL:${path},share,log=/var/log/serial/console.log, which keeps it open`,
  })
}
