/** The last bytes of a line, for those who come later. */
export interface ReplayBuffer {
  add(bytes: Buffer): void
  /** Up to so many of the last bytes, from the beginning of a line where there is one. */
  last(bytes: number): Buffer
  /** Keeps at least so many. */
  grow(bytes: number): void
}

/** Nobody gets more of them. */
export const mostReplay = 1_048_576

const newline = 0x0a

export function replayBuffer(): ReplayBuffer {
  let kept: Buffer[] = []
  let length = 0
  let room = 0
  const trim = () => {
    while (length - (kept[0]?.length ?? 0) >= room && kept.length > 0) length -= kept.shift()!.length
  }
  return {
    add(bytes) {
      if (room === 0) return
      kept.push(bytes)
      length += bytes.length
      trim()
      // Many small pieces take more than what is in them.
      if (kept.length > 4_096) kept = [Buffer.concat(kept)]
    },
    last(bytes) {
      if (bytes === 0) return Buffer.alloc(0)
      const all = Buffer.concat(kept)
      if (all.length <= bytes) return all
      const tail = all.subarray(all.length - bytes)
      const line = tail.indexOf(newline) + 1
      return line > 0 && line < tail.length ? tail.subarray(line) : tail
    },
    grow(bytes) {
      room = Math.max(room, bytes)
    },
  }
}
