import type { Command } from 'commander'
import { define } from '../command.ts'
import { type OutputOptions, print, printList, renderItem, withOutput } from '../output/print.ts'

export function command(): Command {
  return withOutput(
    define('addresses', 'The kinds of addresses that relays are made of, and the options of each.', [
      'fleetcat addresses',
      'fleetcat addresses TCP4-LISTEN',
      'fleetcat addresses -o json',
    ]).argument('[keyword]', 'one kind, with its options'),
  ).action(addresses)
}

async function addresses(keyword: string | undefined, options: OutputOptions): Promise<void> {
  const [{ absentKindOf, groupsOf, kindOf, kinds, suggestKeyword }, views] = await Promise.all([
    import('#relay/endpoints/index.ts'),
    import('../views/address.ts'),
  ])
  if (keyword === undefined) {
    return await printList(
      kinds.map(kind => views.addressItem(kind, groupsOf(kind))),
      views.addresses,
      options,
    )
  }
  const kind = kindOf(keyword)
  if (!kind) throw views.unknownKeyword(keyword, absentKindOf(keyword), suggestKeyword(keyword))
  const item = views.addressItem(kind, groupsOf(kind))
  print(await renderItem(item, item.keyword, options.output, () => views.describeAddress(item)))
}
