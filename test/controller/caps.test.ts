import { expect, test } from 'vitest'
import { apply, create, draft } from '#test/resources/drafts.ts'
import { joinAgent, openController } from '#test/resources/fleet.ts'
import { toDuration } from '#wire/duration.ts'

const hour = 3_600_000
const ttl = (hours: number) => ({ ttl: toDuration(hours * hour) })
const exec = { targets: ['EXEC:/usr/bin/uptime'] }

test.each<[string, string, object, string | undefined]>([
  ['no policy', '', {}, undefined],
  ['a cap, and none asked for', 'max-ttl: 24h', {}, undefined],
  ['a cap, and as much', 'max-ttl: 24h', ttl(24), undefined],
  ['a cap, and more', 'max-ttl: 24h', ttl(25), '--ttl 1d'],
  ['an end for all, and none', 'require-ttl: true', {}, '--ttl 2h'],
  ['an end for all, and one', 'require-ttl: true', ttl(1), undefined],
  ['an end for all under a cap, and none', 'require-ttl: true, max-ttl: 90m', {}, '--ttl 90m` or less'],
  ['an end for programs, and none', 'require-ttl: [EXEC, SYSTEM]', exec, 'EXEC'],
  ['an end for programs, as its tee', 'require-ttl: [exec]', { tee: exec.targets }, 'EXEC'],
  ['an end for programs, and no program', 'require-ttl: [EXEC]', {}, undefined],
  ['an end for TCP, which TCP4 is', 'require-ttl: [TCP]', {}, 'TCP4'],
  ['a shorter lease than asked for', 'max-lease: 5m', { lease: toDuration(hour) }, '--lease 5m'],
  ['a shorter lease than the default', 'max-lease: 30s', {}, '--lease 30s'],
  ['a longer lease than the default', 'max-lease: 5m', {}, undefined],
])('%s', async (_, policy, spec, says) => {
  await using controller = await openController({ config: `policy: {${policy}}` })
  await joinAgent(controller, { name: 'edge-1' })
  for (const asked of [create(controller, draft('web', spec)), apply(controller, [draft('api', spec)])]) {
    if (says === undefined) await asked
    else {
      await expect(asked).rejects.toMatchObject({
        code: 'denied',
        why: expect.stringContaining('the policy'),
      })
      await expect(asked).rejects.toThrowError(says)
    }
  }
})

test.each([
  ['require-ttl: [EXECC]', 'EXEC'],
  ['maxTtl: 24h', 'max-ttl'],
  ['max-ttl: soon', 'max-ttl'],
])('a policy that makes no sense keeps the controller from starting: %s', async (policy, says) => {
  await expect(openController({ config: `policy: {${policy}}` })).rejects.toThrowError(says)
})
