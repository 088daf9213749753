/** What could recolour, hide or reorder text on a terminal. Line ends of our own layout are not among it. */
const hostile = /[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|(?!\n)\p{Cc}/gu

/** JSON that means the same and is safe to show: hostile characters are written as escapes. */
export function json(value: unknown, { pretty = true } = {}): string {
  return `${escaped(JSON.stringify(value, null, pretty ? 2 : undefined))}\n`
}

export async function yaml(value: unknown): Promise<string> {
  const { Document, visit } = await import('yaml')
  const document = new Document(JSON.parse(JSON.stringify(value)), { aliasDuplicateObjects: false })
  // Only a double-quoted scalar may carry escapes.
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string' && (node.value.match(hostile) || node.value.includes('\n')))
        node.type = 'QUOTE_DOUBLE'
    },
  })
  return escaped(document.toString({ lineWidth: 0 }))
}

const escaped = (text: string) =>
  text.replace(hostile, c => [...Array(c.length).keys()].map(i => unit(c, i)).join(''))

const unit = (text: string, at: number) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`
