import type { Command } from 'commander'
import { define } from '../command.ts'

/** For the completion and the overview: its words are socat's, and `cli/socat` reads them. */
export function command(): Command {
  return define('socat', 'One relay on this host, without a controller, with the command line of socat.', [
    'fleetcat socat -d -d TCP4-LISTEN:8080,bind=127.0.0.1,fork TCP4:example.com:80',
    'fleetcat socat - UNIX-CONNECT:/run/app.sock',
  ])
    .argument('<address>', 'what is opened first')
    .argument('<address>', 'what is opened second')
    .addHelpText(
      'after',
      '\n`fleetcat socat -h` lists socat’s options and addresses, -hh and -hhh their options too.',
    )
}
