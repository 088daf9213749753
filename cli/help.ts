import { commands } from './commands.ts'

/** The overview, from the list alone: nothing else is loaded for it. */
export function overview(): string {
  const groups = [...new Set(commands.map(({ group }) => group))]
  const width = Math.max(...commands.map(({ name }) => name.length))
  const section = (group: string) =>
    commands
      .filter(row => row.group === group)
      .map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`)
      .join('')
  return [
    'socat for a fleet, on a leash: relays on every host, one controller, revocation you can prove\n\n',
    'Usage: fleetcat COMMAND [options]\n',
    ...groups.map(group => `\n${group}\n${section(group)}`),
    '\nTry it here\n',
    '  fleetcat up\n',
    '  fleetcat create web TCP4-LISTEN:8080,bind=127.0.0.1,fork TCP4:example.com:80\n',
    '  fleetcat connections -w\n',
    '  fleetcat revoke relay/web\n',
    '\n`fleetcat COMMAND --help` has options and examples. FLEETCAT_HOME (default ~/.config/fleetcat)\n',
    'holds your contexts; --context or FLEETCAT_CONTEXT picks one.\n',
  ].join('')
}
