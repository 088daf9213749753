import { closeSync } from 'node:fs'
import { connect, Socket } from 'node:net'

/** Joins what it reads and writes with a Unix socket, each direction by itself: `bridge.ts PATH socket|pipes`. */
const [path = '', wiring] = process.argv.slice(2)
const far = connect({ path, allowHalfOpen: true })
const input = new Socket({ fd: 0, allowHalfOpen: true, writable: wiring === 'socket' })
const output = wiring === 'socket' ? input : new Socket({ fd: 1, readable: false })
for (const end of [far, input, output]) end.on('error', () => process.exit(1))
input.pipe(far)
far.pipe(output)
// Node keeps standard output open whatever becomes of its stream.
if (wiring === 'pipes') output.on('finish', () => closeSync(1))
