import type { Command } from 'commander'

/** One row of the list of commands. Only the command that runs is loaded. */
export interface CommandRow {
  readonly name: string
  readonly syntax: string
  readonly summary: string
  readonly group: string
  readonly load: () => Promise<{ command(): Command }>
  /** Of a command whose words are not ours: it reads them by itself. */
  readonly own?: () => Promise<{ run(words: readonly string[]): Promise<number> }>
}

const start = 'Start'
const access = 'Access'
const relays = 'Relays'
const live = 'Live'
const reach = 'From host to host'
const more = 'More'

export const commands: readonly CommandRow[] = [
  {
    name: 'up',
    syntax: '[options]',
    summary: 'controller, agent "local" and you as admin, in one process',
    group: start,
    load: () => import('./commands/up.ts'),
  },
  {
    name: 'controller',
    syntax: '[backup|restore DIR]',
    summary: 'the controller of a fleet',
    group: start,
    load: () => import('./commands/controller.ts'),
  },
  {
    name: 'agent',
    syntax: '[--join TOKEN]',
    summary: 'the agent of this host',
    group: start,
    load: () => import('./commands/agent.ts'),
  },
  {
    name: 'status',
    syntax: '[--wait D]',
    summary: 'whether the controller answers, and what it runs',
    group: start,
    load: () => import('./commands/status.ts'),
  },
  {
    name: 'login',
    syntax: 'TOKEN',
    summary: 'become an operator, with a join token',
    group: access,
    load: () => import('./commands/login.ts'),
  },
  {
    name: 'logout',
    syntax: '',
    summary: 'forget an operator’s identity here',
    group: access,
    load: () => import('./commands/logout.ts'),
  },
  {
    name: 'whoami',
    syntax: '',
    summary: 'your name and role, as the controller sees them',
    group: access,
    load: () => import('./commands/whoami.ts'),
  },
  {
    name: 'contexts',
    syntax: '[use|remove NAME]',
    summary: 'the fleets that you can reach from here',
    group: access,
    load: () => import('./commands/contexts.ts'),
  },
  {
    name: 'token',
    syntax: 'create|list|revoke',
    summary: 'join tokens for agents and operators',
    group: access,
    load: () => import('./commands/token.ts'),
  },
  {
    name: 'create',
    syntax: 'NAME LISTEN TARGET…',
    summary: 'start a relay on one or many agents',
    group: relays,
    load: () => import('./commands/create.ts'),
  },
  {
    name: 'apply',
    syntax: '-f FILE…',
    summary: 'make the fleet as files describe it',
    group: relays,
    load: () => import('./commands/apply.ts'),
  },
  {
    name: 'diff',
    syntax: '-f FILE…',
    summary: 'what apply would change',
    group: relays,
    load: () => import('./commands/diff.ts'),
  },
  {
    name: 'export',
    syntax: '[-l SEL]',
    summary: 'relays as files that apply takes back',
    group: relays,
    load: () => import('./commands/export.ts'),
  },
  {
    name: 'list',
    syntax: '[-l SEL] [-w]',
    summary: 'relays and how they fare',
    group: relays,
    load: () => import('./commands/list.ts'),
  },
  {
    name: 'describe',
    syntax: 'relay/NAME|agent/NAME|conn/ID',
    summary: 'all that is known of one thing',
    group: relays,
    load: () => import('./commands/describe.ts'),
  },
  {
    name: 'wait',
    syntax: 'relay/NAME --for ready|revoked',
    summary: 'until a relay is ready, or a revocation is done',
    group: relays,
    load: () => import('./commands/wait.ts'),
  },
  {
    name: 'agents',
    syntax: '[-l SEL] [-w]',
    summary: 'agents and how they fare',
    group: live,
    load: () => import('./commands/agents.ts'),
  },
  {
    name: 'connections',
    syntax: '[--relay R] [-w]',
    summary: 'every live connection of the fleet',
    group: live,
    load: () => import('./commands/connections.ts'),
  },
  {
    name: 'forward',
    syntax: 'LISTEN @AGENT/ADDRESS',
    summary: 'reach an address on another host from this one',
    group: reach,
    load: () => import('./commands/forward.ts'),
  },
  {
    name: 'pipe',
    syntax: '@AGENT/ADDRESS',
    summary: 'standard input and output on another host',
    group: reach,
    load: () => import('./commands/pipe.ts'),
  },
  {
    name: 'cp',
    syntax: 'SRC DST',
    summary: 'copy files and directories to agents, from them, and between them',
    group: reach,
    load: () => import('./commands/cp.ts'),
  },
  {
    name: 'bench',
    syntax: '@AGENT [@AGENT]',
    summary: 'how fast the way between two hosts is',
    group: reach,
    load: () => import('./commands/bench.ts'),
  },
  {
    name: 'console',
    syntax: '@AGENT//dev/PORT',
    summary: 'a serial port of another host in this terminal',
    group: reach,
    load: () => import('./commands/console.ts'),
  },
  {
    name: 'serial',
    syntax: 'list|pty|run|log',
    summary: 'the serial ports of the fleet, for programs of this host',
    group: reach,
    load: () => import('./commands/serial.ts'),
  },
  {
    name: 'dump',
    syntax: 'RELAY|conn/ID',
    summary: 'what passes through a relay, as it passes',
    group: live,
    load: () => import('./commands/dump.ts'),
  },
  {
    name: 'probe',
    syntax: 'ADDRESS [-l SEL]',
    summary: 'which hosts can reach an address, and how fast',
    group: reach,
    load: () => import('./commands/probe.ts'),
  },
  {
    name: 'revoke',
    syntax: 'TARGET…',
    summary: 'end a relay or a connection everywhere, now',
    group: live,
    load: () => import('./commands/revoke.ts'),
  },
  {
    name: 'lift',
    syntax: 'ID',
    summary: 'let in again what a revocation shuts out',
    group: relays,
    load: () => import('./commands/lift.ts'),
  },
  {
    name: 'revocations',
    syntax: '',
    summary: 'what was revoked, and each agent’s receipt',
    group: live,
    load: () => import('./commands/revocations.ts'),
  },
  {
    name: 'audit',
    syntax: '[-f] [--since D] | verify|export',
    summary: 'who did what, and whether the log of it is whole',
    group: live,
    load: () => import('./commands/audit.ts'),
  },
  {
    name: 'socat',
    syntax: '[options] ADDRESS ADDRESS',
    summary: 'one relay on this host, as socat runs it',
    group: more,
    load: () => import('./commands/socat.ts'),
    own: () => import('./socat/run.ts'),
  },
  {
    name: 'addresses',
    syntax: '[KEYWORD]',
    summary: 'the kinds of addresses and their options',
    group: more,
    load: () => import('./commands/addresses.ts'),
  },
  {
    name: 'completion',
    syntax: 'bash|zsh|fish',
    summary: 'completion for your shell',
    group: more,
    load: () => import('./commands/completion.ts'),
  },
  {
    name: 'version',
    syntax: '',
    summary: 'the version of this program',
    group: more,
    load: () => import('./commands/version.ts'),
  },
]

/** Not for people: the shell asks it for names while they type. */
export const hidden: readonly CommandRow[] = [
  {
    name: '__complete',
    syntax: 'KIND',
    summary: 'names for completion',
    group: more,
    load: () => import('./commands/complete.ts'),
  },
]
