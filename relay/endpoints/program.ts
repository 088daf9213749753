import { type Address, addressError } from '../address.ts'
import type { Endpoint, EndpointKind } from '../endpoint.ts'
import { type OptionValues, readOptions } from '../options.ts'
import { commandOf } from '../programs/command-line.ts'
import type { Program } from '../programs/dial.ts'
import { programGroups } from '../programs/program-options.ts'
import { scopeOf } from '../programs/scope.ts'
import { wrongAddress } from './ip-parts.ts'

/** What a line of a ceiling may say: all that gives a program more than its words do. */
const ruled = ['user', 'group', 'chdir', 'umask', 'path', 'env', 'shell']

/** Programs of this host. What they read is what the other side of the relay says, and the other way round. */
export const programKinds: readonly EndpointKind[] = [
  row(
    'EXEC',
    'EXEC:<command-line>',
    'a program, started for each connection; no shell sees its words',
    address => {
      const [program, ...words] = commandOf(address)
      return { is: 'words', program, words }
    },
  ),
  row('SYSTEM', 'SYSTEM:<shell-command>', 'a command of /bin/sh, started for each connection', address => {
    return { is: 'shell', shell: '/bin/sh', command: shellCommandOf(address) }
  }),
  row(
    'SHELL',
    'SHELL:<shell-command>',
    "a command of the user's own shell, started for each connection",
    address => {
      return { is: 'shell', shell: undefined, command: shellCommandOf(address) }
    },
  ),
]

function row(
  keyword: string,
  syntax: string,
  summary: string,
  read: (address: Address) => Program,
): EndpointKind {
  return {
    keyword,
    aliases: [],
    syntax,
    summary,
    groups: programGroups,
    role: 'both',
    ruled,
    bind(address) {
      const program = read(address)
      const options = readOptions(address, programGroups)
      refuseContradictions(address, options, keyword)
      const target = { keyword, program, options, host: address.host }
      const dialer: Endpoint['dialer'] = {
        // What starts programs is not loaded by whoever only reads the table, or relays something else.
        dial: async cx => (await import('../programs/dial.ts')).dialProgram(target, cx),
      }
      return { address, scope: scopeOf(target), dialer }
    },
  }
}

function shellCommandOf(address: Address): string {
  const [command = ''] = address.args
  if (address.args.length !== 1 || command === '') {
    const fix = 'Write a colon of the command as `\\:`, or the whole of it in double quotes'
    throw wrongAddress(address, `it has ${address.args.length} arguments instead of 1`, fix)
  }
  return command
}

function refuseContradictions(
  address: Address,
  options: OptionValues<typeof programGroups>,
  keyword: string,
): void {
  const refuse = (name: string, why: string, fix: string) => {
    const option = address.options.find(each => each.name === name)
    throw addressError(address.text, option?.at ?? 0, { why, fix })
  }
  const { pty, pipes, ctty, fdin = 0, fdout = 1, shell, login } = options
  if (pty && pipes) refuse('pipes', '`pty` and `pipes` contradict each other', 'Keep one of them')
  if (ctty && !pty) refuse('ctty', 'only a terminal can control a program', 'Add `pty`')
  if (ctty && fdin !== 0) refuse('fdin', '`ctty` needs the terminal at descriptor 0', 'Leave out `fdin`')
  if (fdin === fdout && pipes) refuse('fdout', 'a pipe goes one way', 'Leave out `pipes`, or change `fdout`')
  if (shell !== undefined && keyword !== 'SHELL') {
    refuse('shell', `${keyword} does not choose its shell`, 'Write SHELL in its place')
  }
  if (login && keyword === 'SYSTEM')
    refuse('login', 'SYSTEM starts no login shell', 'Write SHELL in its place')
  const terminal = Object.keys(options).find(name => name.startsWith('termios:'))
  if (terminal !== undefined && !pty) {
    const name = terminal.slice('termios:'.length)
    refuse(name, `\`${name}\` is for terminals, and without \`pty\` there is none`, 'Add `pty`')
  }
}
