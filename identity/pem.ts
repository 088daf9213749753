/** One armoured block of a text. */
export interface PemBlock {
  readonly label: string
  readonly bytes: Buffer
}

const block = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\r\n]+?)-----END \1-----/g

/**
 * The blocks of a text that is made of nothing else. Undefined when anything but white space stands between them or
 * when one is damaged: whoever reads keys leniently reads half a key.
 */
export function readPem(text: string): readonly PemBlock[] | undefined {
  const blocks: PemBlock[] = []
  const rest = text.replace(block, (_, label: string, body: string) => {
    const base64 = body.replace(/[\r\n]/g, '')
    const bytes = Buffer.from(base64, 'base64')
    if (bytes.toString('base64') === base64) blocks.push({ label, bytes })
    else return 'damaged'
    return ''
  })
  return rest.trim() === '' ? blocks : undefined
}

export function writePem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
