import type { Socket } from 'node:net'
import type { socketOptions } from '../option-groups.ts'
import type { OptionValues } from '../options.ts'

/**
 * `nodelay` is on unless the address says otherwise: the programs at both ends decide how they gather small writes,
 * and a relay that gathers them once more adds up to 40 ms to each of their answers.
 */
export function applySocketOptions(
  socket: Socket,
  options: OptionValues<readonly [typeof socketOptions]>,
): void {
  socket.setNoDelay(options.nodelay ?? true)
  const { keepidle, keepintvl, keepcnt } = options
  const enable = options.keepalive ?? (keepidle ?? keepintvl ?? keepcnt) !== undefined
  if (enable) {
    socket.setKeepAlive({
      enable,
      ...(keepidle !== undefined && { initialDelay: keepidle }),
      ...(keepintvl !== undefined && { interval: keepintvl }),
      ...(keepcnt !== undefined && { count: keepcnt }),
    })
  }
  if (options.tos !== undefined) socket.setTypeOfService(options.tos)
}
