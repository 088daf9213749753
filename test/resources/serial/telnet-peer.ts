import type { Duplex } from 'node:stream'
import { type ComPortMessage, comPortBytes, readComPort, type Speaker } from '#relay/serial/rfc2217/codec.ts'
import { escaped, optionBytes, telnetOptions, telnetParser, type Verb } from '#relay/serial/telnet.ts'
import { until } from '#test/resources/until.ts'

/** One who speaks telnet by hand: what it has heard, and what it says. It answers nothing by itself. */
export interface TelnetPeer {
  readonly data: () => Buffer
  /** `do 44`, `will 0`, … */
  readonly options: readonly string[]
  readonly commands: readonly number[]
  readonly messages: readonly ComPortMessage[]
  say(bytes: Buffer | readonly number[]): void
  option(verb: Verb, option: number): void
  write(data: Buffer | string): void
  tell(message: ComPortMessage): void
  /** Waits for the next message of this name that nobody has taken yet. */
  next(name: ComPortMessage['name']): Promise<{ readonly name: string; readonly value?: number | undefined }>
  /** Says a number, and takes the number of the answer. */
  ask(name: ComPortMessage['name'], value?: number): Promise<number | undefined>
}

export function telnetPeer(stream: Duplex, speaks: Speaker = 'client'): TelnetPeer {
  const data: Buffer[] = []
  const options: string[] = []
  const commands: number[] = []
  const messages: ComPortMessage[] = []
  const untaken: ComPortMessage[] = []
  const parser = telnetParser({
    data: bytes => data.push(Buffer.from(bytes)),
    option: (verb, option) => options.push(`${verb} ${option}`),
    command: code => commands.push(code),
    subnegotiation(option, payload) {
      const message = readComPort(payload, speaks === 'client' ? 'server' : 'client')
      if (option !== telnetOptions.comPort || !message) throw new Error(`what is ${payload.toString('hex')}?`)
      messages.push(message)
      untaken.push(message)
    },
  })
  parser.binary = true
  stream.on('data', (chunk: Buffer) => parser.take(chunk))
  const tell = (message: ComPortMessage) => void stream.write(comPortBytes(message, speaks))
  const next: TelnetPeer['next'] = async name => {
    const at = await until(`there is an answer \`${name}\``, () => {
      const found = untaken.findIndex(message => message.name === name)
      return found < 0 ? undefined : { found }
    })
    return untaken.splice(at.found, 1)[0]!
  }
  return {
    data: () => Buffer.concat(data),
    options,
    commands,
    messages,
    say: bytes => void stream.write(Buffer.from(bytes)),
    option: (verb, option) => void stream.write(optionBytes(verb, option)),
    write: bytes => void stream.write(escaped(Buffer.from(bytes))),
    tell,
    next,
    async ask(name, value) {
      tell({ name, value } as ComPortMessage)
      return (await next(name)).value
    },
  }
}
