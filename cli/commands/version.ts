import type { Command } from 'commander'
import { version } from '#wire/version.ts'
import { define } from '../command.ts'
import { type OutputOptions, print, renderItem, withOutput } from '../output/print.ts'

export function command(): Command {
  return withOutput(
    define('version', 'The version of this program.', ['fleetcat version', 'fleetcat version -o json']),
    { headers: false },
  ).action(async ({ output }: OutputOptions) => {
    const { version: node, platform, arch } = process
    const item = { kind: 'Version', version, node: node.slice(1), platform, arch }
    print(
      await renderItem(item, version, output, () =>
        output === 'wide'
          ? `fleetcat ${version} (node ${item.node}, ${platform} ${arch})\n`
          : `fleetcat ${version}\n`,
      ),
    )
  })
}
