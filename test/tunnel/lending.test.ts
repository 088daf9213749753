import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { describe, expect, test } from 'vitest'
import type { Channel } from '#relay/endpoint.ts'
import { openPki } from '#test/resources/pki.ts'
import { until } from '#test/resources/until.ts'
import { hearBriefly, readBriefly } from '#tunnel/brief-reads.ts'
import { openLinked, openWire } from './links.ts'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** Who takes what a channel lends, and gives it back when it is told to. */
function taker({ lender, stream }: Channel) {
  const taken: Buffer[] = []
  let isPatient = false
  let isEnded = false
  stream.on('end', () => {
    isEnded = true
  })
  return {
    begin() {
      lender!.lend(bytes => {
        taken.push(Buffer.from(bytes))
        return !isPatient
      })
      stream.resume()
    },
    /** From now on it keeps what it gets until `release`. */
    keep() {
      isPatient = true
    },
    release() {
      isPatient = false
      lender!.returned()
    },
    bytes: () => Buffer.concat(taken),
    pieces: () => taken.length,
    isEnded: () => isEnded,
  }
}

describe('what a stream of a tunnel lends', () => {
  test('is all that was sent, in order, what had come before included, and then its end', async () => {
    await using linked = await openLinked()
    await using talk = await linked.converse()
    const sent = [randomBytes(10), randomBytes(100_000), randomBytes(5), randomBytes(700_000)]
    talk.far.stream.write(sent[0]!)
    talk.far.stream.write(sent[1]!)
    await until('some of it waits', () => talk.near.stream.readableLength > 0)
    const reader = taker(talk.near)
    reader.begin()
    talk.far.stream.write(sent[2]!)
    talk.far.stream.end(sent[3]!)
    await until('it has ended', () => reader.isEnded())
    expect(sha256(reader.bytes())).toBe(sha256(Buffer.concat(sent)))
  })

  test('is lent once at a time, and its end waits until all was taken', async () => {
    await using linked = await openLinked()
    await using talk = await linked.converse()
    const reader = taker(talk.near)
    reader.begin()
    reader.keep()
    talk.far.stream.write('one')
    await until('it is lent', () => reader.pieces() === 1)
    const rest = randomBytes(100_000)
    talk.far.stream.end(rest)
    await until('all has been said', () => talk.far.stream.writableFinished)
    // What is said behind it on the same way has come.
    await using other = await linked.converse()
    other.far.stream.write('x')
    await once(other.near.stream, 'data')
    expect([reader.pieces(), reader.isEnded()]).toEqual([1, false])
    reader.release()
    await until('it has ended', () => reader.isEnded())
    expect(sha256(reader.bytes())).toBe(sha256(Buffer.concat([Buffer.from('one'), rest])))
  })

  test('is no more than one window of who does not give it back', async () => {
    await using linked = await openLinked()
    await using talk = await linked.converse()
    const reader = taker(talk.near)
    reader.begin()
    reader.keep()
    let accepted = 0
    const chunk = randomBytes(65_536)
    const write = () => {
      accepted += chunk.length
      if (accepted < 64 * 1_048_576) talk.far.stream.write(chunk, write)
    }
    write()
    await until('it is lent', () => reader.pieces() === 1)
    await using other = await linked.converse()
    other.far.stream.write('x')
    await once(other.near.stream, 'data')
    expect(accepted).toBeLessThan(4 * 1_048_576)
  })

  test('is nothing of datagrams, which stay by themselves', async () => {
    await using linked = await openLinked()
    await using talk = await linked.converse('datagram')
    expect(talk.near.lender).toBeUndefined()
  })
})

describe('a socket of TLS that reads without memory of its own', () => {
  /** Both ends of a connection, the answering one on a socket that was there before. */
  async function openTls() {
    using pki = openPki()
    const issued = pki.issue({ name: 'localhost', alone: true })
    const wire = await openWire()
    const server = createServer({ key: readFileSync(issued.key), cert: readFileSync(issued.cert) })
    const answered = once(server, 'secureConnection') as Promise<[TLSSocket]>
    server.emit('connection', wire.there)
    const client = connect({ socket: wire.here, rejectUnauthorized: false })
    await once(client, 'secureConnect')
    const [there] = await answered
    for (const socket of [client, there]) socket.on('error', () => {})
    return { client, there, [Symbol.asyncDispose]: () => wire[Symbol.asyncDispose]() }
  }

  test('is made of one that is there already, with this Node', async () => {
    await using tls = await openTls()
    tls.client.write('before ')
    await once(tls.there, 'readable')
    expect(readBriefly(tls.there)).toBe(true)
    let heard = ''
    let isEnded = false
    hearBriefly(tls.there, bytes => {
      heard += bytes
    })
    tls.there.on('end', () => {
      isEnded = true
    })
    tls.client.end('and after')
    await until('it has ended', () => isEnded)
    expect(heard).toBe('before and after')
  })

  test('gives copies to who reads the stream', async () => {
    await using tls = await openTls()
    readBriefly(tls.there)
    tls.client.write('one')
    const [one] = (await once(tls.there, 'data')) as [Buffer]
    tls.client.write('two')
    const [two] = (await once(tls.there, 'data')) as [Buffer]
    expect(`${one} ${two}`).toBe('one two')
  })
})
