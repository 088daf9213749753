type Step = { readonly char: string } | { readonly any: 'segment' | 'text' }

/**
 * A matcher for text with `*` (anything but `/`, or but what `bounds` says) and `**` (anything); a backslash makes the
 * next character literal. Takes time proportional to pattern × text at worst, whatever the pattern.
 */
export function glob(pattern: string, bounds = '/'): (text: string) => boolean {
  const steps = [...stepsOf(pattern)]
  return text => {
    let reached = closure(steps, new Set([0]))
    for (const char of text) {
      const next = new Set<number>()
      for (const at of reached) {
        const step = steps[at]
        if (step === undefined) continue
        if ('char' in step ? step.char === char : step.any === 'text' || !bounds.includes(char)) {
          next.add('char' in step ? at + 1 : at)
        }
      }
      if (next.size === 0) return false
      reached = closure(steps, next)
    }
    return reached.has(steps.length)
  }
}

/** A pattern that matches `text` and nothing else. */
export function literalGlob(text: string): string {
  return text.replace(/[\\*]/g, '\\$&')
}

/** Does the pattern have a `*` that stands for other text? */
export function isOpen(pattern: string): boolean {
  return [...stepsOf(pattern)].some(step => 'any' in step)
}

/** Parts a pattern of paths at the last slash before its first star: the text up to there, and the pattern of the rest. */
export function splitHead(pattern: string): { readonly head: string; readonly rest: string } {
  let text = ''
  let found = { head: '', rest: pattern }
  for (let at = 0; at < pattern.length && pattern[at] !== '*'; at++) {
    if (pattern[at] === '\\' && at + 1 < pattern.length) at++
    text += pattern[at]
    if (pattern[at] === '/') found = { head: text, rest: pattern.slice(at + 1) }
  }
  return found
}

function* stepsOf(pattern: string): Generator<Step> {
  const chars = [...pattern]
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at]!
    if (char === '\\' && at + 1 < chars.length) yield { char: chars[++at]! }
    else if (char !== '*') yield { char }
    else if (chars[at + 1] !== '*') yield { any: 'segment' }
    else {
      while (chars[at + 1] === '*') at++
      yield { any: 'text' }
    }
  }
}

/** A star may stand for nothing: whoever is at one is at what follows too. */
function closure(steps: readonly Step[], reached: Set<number>): Set<number> {
  for (const at of reached) {
    const step = steps[at]
    if (step !== undefined && 'any' in step) reached.add(at + 1)
  }
  return reached
}
