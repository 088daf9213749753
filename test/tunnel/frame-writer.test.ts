import { expect, test } from 'vitest'
import { openFrameWriter } from '#tunnel/frame-writer.ts'
import { frame, kinds } from '#tunnel/frames.ts'
import { until } from '../resources/until.ts'
import { openWire } from './links.ts'

/** Each frame is of another byte, so that memory which is used again too early shows. */
const payload = (n: number) => Buffer.alloc(40_000, n)

test('what waits for a slow reader arrives as it was written, though its memory is used again', async () => {
  await using wire = await openWire()
  wire.there.pause()
  const writers = [openFrameWriter(wire.here)]
  await using other = await openWire()
  writers.push(openFrameWriter(other.here))
  other.there.resume()
  const frames = 200
  const expected: Buffer[] = []
  for (let n = 0; n < frames; n++) {
    for (const writer of writers) writer.write(kinds.data, 1, payload(n))
    expected.push(frame(kinds.data, 1, payload(n)))
    await new Promise(setImmediate)
  }
  const arrived: Buffer[] = []
  wire.there.on('data', bytes => arrived.push(bytes)).resume()
  const length = expected.reduce((sum, bytes) => sum + bytes.length, 0)
  const arrivedLength = () => arrived.reduce((sum, bytes) => sum + bytes.length, 0)
  await until('all of it has arrived', () => arrivedLength() >= length)
  expect(Buffer.concat(arrived).equals(Buffer.concat(expected))).toBe(true)
})

test('who has more to say waits while much waits, and nobody waits once it is over', async () => {
  await using wire = await openWire()
  wire.there.pause()
  const writer = openFrameWriter(wire.here)
  for (let n = 0; n < 400; n++) writer.write(kinds.data, 1, payload(n))
  let released = 0
  writer.whenRoom(() => released++)
  expect({ isFull: writer.isFull, released }).toEqual({ isFull: true, released: 0 })
  writer.stop()
  expect(released).toBe(1)
  writer.whenRoom(() => released++)
  expect(released).toBe(2)
})

test('what is said in one turn leaves at its end, and all of it at once when it is flushed', async () => {
  await using wire = await openWire()
  const arrived: Buffer[] = []
  wire.there.on('data', bytes => arrived.push(bytes))
  const writer = openFrameWriter(wire.here)
  writer.write(kinds.ping, 0)
  writer.write(kinds.end, 3)
  expect(wire.here.bytesWritten).toBe(0)
  writer.flush()
  expect(wire.here.bytesWritten).toBe(16)
  await until('both have arrived', () => Buffer.concat(arrived).length === 16)
  expect(Buffer.concat(arrived).equals(Buffer.concat([frame(kinds.ping, 0), frame(kinds.end, 3)]))).toBe(true)
})
