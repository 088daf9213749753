const cr = 0x0d
const nl = 0x0a

/** Every `from` becomes `to`. */
export function exchanged(from: 'cr' | 'nl', to: 'cr' | 'nl'): (chunk: Buffer) => Buffer {
  const [old, fresh] = [byteOf(from), byteOf(to)]
  return chunk => {
    let at = chunk.indexOf(old)
    if (at < 0) return chunk
    const copy = Buffer.from(chunk)
    for (; at >= 0; at = copy.indexOf(old, at + 1)) copy[at] = fresh
    return copy
  }
}

/** Every CR vanishes, those included that stand before no NL: so socat has it. */
export function withoutCr(chunk: Buffer): Buffer {
  const first = chunk.indexOf(cr)
  if (first < 0) return chunk
  const copy = Buffer.allocUnsafe(chunk.length - 1)
  let length = chunk.copy(copy, 0, 0, first)
  for (let at = first + 1; at < chunk.length; at++) {
    if (chunk[at] !== cr) copy[length++] = chunk[at]!
  }
  return copy.subarray(0, length)
}

/** Every NL is preceded by a CR. */
export function withCr(chunk: Buffer): Buffer {
  const pieces: Buffer[] = []
  let from = 0
  for (let at = chunk.indexOf(nl); at >= 0; at = chunk.indexOf(nl, from)) {
    pieces.push(chunk.subarray(from, at), crnl)
    from = at + 1
  }
  return pieces.length === 0 ? chunk : Buffer.concat([...pieces, chunk.subarray(from)])
}

const crnl = Buffer.from([cr, nl])

const byteOf = (name: 'cr' | 'nl') => (name === 'cr' ? cr : nl)
