import { sections } from '../output/sections.ts'
import { table } from '../output/table.ts'
import { since, until } from '../output/time.ts'
import { plainTable } from '../readiness.ts'
import { count, type RevocationItem, receiptColumns } from './revocation.ts'

export function describeRevocation(item: RevocationItem): string {
  const { target, state, at, by, reason, lockUntil, liftedAt, liftedBy, relays, except, receipts } = item
  const now = Date.now()
  const cut = receipts.reduce((sum, { connectionsCut }) => sum + connectionsCut, 0)
  return sections([
    {
      fields: [
        ['Id', item.id],
        ['Target', target],
        ['State', state],
        ['Revoked', at && `${at} (${since(at, now)} ago) by ${by}`],
        ['Reason', reason],
        ['Lock until', lockUntil && `${lockUntil}${state === 'active' ? ` (${until(lockUntil, now)})` : ''}`],
        ['In force', state === 'active' && !lockUntil ? `until it is lifted: fleetcat lift ${item.id}` : ''],
        ['Lifted', liftedAt && `${liftedAt} (${since(liftedAt, now)} ago) by ${liftedBy}`],
        ['Relays', target.startsWith('source/') ? relays.join(', ') || 'all, now and later' : ''],
        ['Except', except.join(', ')],
        [
          'Cut',
          receipts.length > 0 ? `${count(cut, 'connection')} on ${count(receipts.length, 'agent')}` : '',
        ],
      ],
    },
    {
      title: 'Verdicts',
      block: table(receipts, receiptColumns, plainTable()) || 'No agent had to cut anything.\n',
    },
  ])
}
