import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { z } from 'zod'
import { RelayError } from '#relay/errors.ts'
import { nearest } from '#relay/nearest.ts'
import { syslogFormats } from '#telemetry/audit/formats.ts'

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `24h`, `90s`, `1.5h` as milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'not a duration such as 24h or 90s')
  .transform(text => Number.parseFloat(text) * (units[text.replace(/[\d.]+/, '')] ?? 1))
  .refine(ms => ms > 0, 'must be longer than nothing')

/** What a stranger may take. A timer of more than 24.8 days would fire at once, and an hour is long enough. */
const patience = duration.refine(ms => ms <= 3_600_000, 'must be an hour at most')

const schema = z.strictObject({
  /** How long certificates live; each renews itself at half of it. */
  certificates: z
    .strictObject({
      agent: duration.default(24 * 3_600_000),
      operator: duration.default(12 * 3_600_000),
      controller: duration.default(24 * 3_600_000),
    })
    .prefault({}),
  /** What the one port allows to those who have not yet shown who they are. */
  front: z
    .strictObject({
      handshake: patience.default(5_000),
      'first-call': patience.default(10_000),
      unfinished: z.int().positive().default(1_024),
    })
    .prefault({}),
  /** What no relay may have, whoever asks for it. */
  policy: z
    .strictObject({
      'max-ttl': duration.optional(),
      /** All relays, or those with an address of one of these kinds. */
      'require-ttl': z.union([z.boolean(), z.array(z.string()).min(1)]).default(false),
      'max-lease': duration.optional(),
    })
    .prefault({}),
  audit: z
    .strictObject({
      /** Rows go when they are older, and the oldest when there are more. */
      keep: duration.default(400 * 86_400_000),
      'keep-rows': z.int().min(1_000).default(5_000_000),
      /** A collector that gets every row. */
      syslog: z
        .strictObject({
          address: z.string(),
          protocol: z.enum(['tcp', 'tls']).default('tls'),
          /** Whose certificates the collector may show; those that the system trusts if nothing is said. */
          cafile: z.string().optional(),
          format: z.enum(syslogFormats).default('rfc5424'),
        })
        .optional(),
    })
    .prefault({}),
})

export type ControllerConfig = z.output<typeof schema>

const known = [
  'certificates',
  'agent',
  'operator',
  'controller',
  'front',
  'handshake',
  'first-call',
  'unfinished',
  'policy',
  'max-ttl',
  'require-ttl',
  'max-lease',
  'audit',
  'keep',
  'keep-rows',
  'syslog',
  'address',
  'protocol',
  'cafile',
  'format',
]

export async function readConfig(file: string | undefined): Promise<ControllerConfig> {
  if (file === undefined) return schema.parse({})
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (thrown) {
    throw RelayError.from(thrown, `configuration ${file}`)
  }
  let given: unknown
  try {
    given = parse(text, { prettyErrors: true }) ?? {}
  } catch (thrown) {
    throw new RelayError('usage', {
      what: `configuration ${file}`,
      why: (thrown as Error).message.split('\n')[0],
    })
  }
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const where = issue?.path.join('.') || 'the top level'
  const stranger = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const near = stranger && nearest(stranger, known)
  throw new RelayError('usage', {
    what: `configuration ${file}`,
    why: stranger ? `there is no setting \`${stranger}\` at ${where}` : `${where}: ${issue?.message}`,
    fix: near ? `Did you mean \`${near}\`?` : undefined,
  })
}
