import { RelayError } from '#relay/errors.ts'
import { parseCidr } from '#relay/ip.ts'
import { flowMistakes } from '#wire/flow.ts'
import { checkLabel } from '#wire/labels.ts'
import { sharingMistakes } from '#wire/sharing.ts'
import { parseWindow } from '#wire/window.ts'
import { checkRelayName, parseLease, parseTtl } from './draft.ts'
import { parseDuration } from './duration.ts'
import { usage } from './failure.ts'
import { flowOfSpec } from './flow-schema.ts'
import { specKeys } from './relay-schema.ts'
import { sharingOfSpec } from './sharing-schema.ts'
import { parseByteRate, parseSize } from './size.ts'
import { banRule } from './views/ban-rule.ts'
import { httpPath } from './views/sharing.ts'

type Path = readonly (string | number)[]

/** Something wrong at one place of a document. */
export interface Mistake {
  readonly path: Path
  readonly error: RelayError
}

/**
 * What is wrong with the values of one relay, as far as that shows without the fleet. It looks at each field by itself,
 * and passes over those whose very shape is wrong, so that a reader learns of all mistakes at once.
 */
export async function valueMistakes(value: unknown): Promise<Mistake[]> {
  const { bindListen, bindTarget, checkCheckable } = await import('#relay/endpoints/index.ts')
  const found: Mistake[] = []
  const check = (path: Path, judge: (text: string) => void) => {
    const text = path.reduce<unknown>((from, step) => (from as Record<string, unknown> | null)?.[step], value)
    if (typeof text !== 'string') return
    try {
      judge(text)
    } catch (thrown) {
      found.push({ path, error: RelayError.from(thrown, `\`${path.join('.')}\``) })
    }
  }
  const metadata = mapOf(mapOf(value).metadata)
  const spec = mapOf(mapOf(value).spec)
  const limits = mapOf(spec.limits)

  check(['metadata', 'name'], checkRelayName)
  for (const name of Object.keys(mapOf(metadata.labels))) {
    check(['metadata', 'labels', name], text => checkLabel(name, text, { host: true }))
  }
  check(['spec', 'listen'], bindListen)
  const judgeTarget = (text: string) => {
    bindTarget(text)
    if (spec.health !== undefined) checkCheckable(text)
  }
  check(['spec', 'target'], judgeTarget)
  for (const i of indexes(spec.targets)) check(['spec', 'targets', i], judgeTarget)
  for (const i of indexes(spec.tee)) check(['spec', 'tee', i], bindTarget)
  check(['spec', 'throttle'], text => parseByteRate(text, 'throttle'))
  check(['spec', 'dump', 'rotate'], text => parseSize(text, 'rotate'))
  check(['spec', 'health', 'check'], text => httpPath(text, 'check'))
  for (const key of ['interval', 'timeout']) {
    check(['spec', 'health', key], text => parseDuration(text, key))
  }
  for (const key of ['allowFrom', 'denyFrom']) {
    for (const i of indexes(limits[key])) check(['spec', 'limits', key, i], parseCidr)
  }
  for (const key of ['idleTimeout', 'maxConnectionAge']) {
    check(['spec', 'limits', key], text => parseDuration(text, key))
  }
  check(['spec', 'limits', 'banAfter'], text => banRule(text, undefined))
  check(['spec', 'limits', 'banFor'], text => banRule('1/1m', text))
  check(['spec', 'lease'], parseLease)
  check(['spec', 'ttl'], parseTtl)
  for (const i of indexes(spec.windows)) check(['spec', 'windows', i], parseWindow)
  return [...found, ...together(String(metadata.name ?? ''), spec), ...settings(spec)]
}

/** What is wrong with fields only beside each other. */
function together(name: string, spec: Record<string, unknown>): Mistake[] {
  const found: Mistake[] = []
  const keys = Object.keys(spec)
  // A key that nobody knows may be the target, misspelt: then one line says enough.
  const isKnown = keys.length > 0 && keys.every(key => specKeys.includes(key))
  if (isKnown && spec.target === undefined && spec.targets === undefined) {
    const fix = 'Write `targets:` and a list, or `target:` and one address'
    found.push({ path: ['spec'], error: usage(`relay/${name}`, 'it has no target', fix) })
  }
  if (spec.target !== undefined && spec.targets !== undefined) {
    const error = usage(`relay/${name}`, 'it has both `target` and `targets`', 'Keep one of the two')
    found.push({ path: ['spec', 'target'], error })
  }
  const limits = mapOf(spec.limits)
  if (limits.banFor !== undefined && limits.banAfter === undefined) {
    const fix = 'Add for example `banAfter: 20/1m`'
    const error = usage(`relay/${name}`, '`banFor` has nothing to last', fix)
    found.push({ path: ['spec', 'limits', 'banFor'], error })
  }
  if (indexes(spec.agents).length > 0 && spec.selector) {
    const fix = 'Keep one: agents by name, or a selector that finds them'
    found.push({
      path: ['spec', 'selector'],
      error: usage(`relay/${name}`, 'it names agents and a selector', fix),
    })
  }
  return found
}

/** What is wrong with the settings beside the addresses, once each by itself makes sense. */
function settings(spec: Record<string, unknown>): Mistake[] {
  const [sharing, flow] = [sharingOfSpec(spec), flowOfSpec(spec)]
  const found = [...(sharing ? sharingMistakes(sharing) : []), ...(flow ? flowMistakes(flow) : [])]
  return found.map(({ path, why, fix }) => ({
    path: ['spec', ...path],
    error: usage(`\`spec.${path.join('.')}\``, why, fix),
  }))
}

const mapOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}

const indexes = (value: unknown): number[] => (Array.isArray(value) ? [...value.keys()] : [])
