import { spawnSync } from 'node:child_process'
import { expect } from 'vitest'
import { needing } from '#test/resources/needs.ts'
import { openCable, openFakePort } from '#test/resources/serial/cables.ts'
import { openFakeLines } from '#test/resources/serial/lines.ts'

const test = needing('cc', 'python3', 'stty')

const ask = (path: string, script: string) =>
  [
    'python3',
    ['-c', `import fcntl, os, struct, termios\nfd = os.open('${path}', os.O_RDWR | os.O_NOCTTY)\n${script}`],
  ] as const

test('a fake line has modem lines, breaks and counters, and says what it saw', async () => {
  await using lines = await openFakeLines()
  await using port = await openFakePort()
  const line = lines.add(port.path)
  line.input({ cts: true, ri: true })
  line.count({ frame: 3, breaks: 1 })
  const script = `
bits = struct.unpack('I', fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))[0]
fcntl.ioctl(fd, termios.TIOCMBIC, struct.pack('I', termios.TIOCM_DTR))
termios.tcsendbreak(fd, 0)
counts = struct.unpack('20i', fcntl.ioctl(fd, 0x545d, bytes(80)))
print(bool(bits & termios.TIOCM_CTS), bool(bits & termios.TIOCM_DSR), bool(bits & termios.TIOCM_RI), counts[6], counts[9])`
  const { stdout, stderr } = spawnSync(...ask(port.path, script), {
    env: { ...process.env, ...lines.env },
    encoding: 'utf8',
  })
  expect(stdout + stderr).toBe('True False True 3 1\n')
  expect(line).toMatchObject({ dtr: false, rts: true })
  expect(lines.log().map(({ what }) => what)).toEqual([
    ...['open', 'lines dtr=1 rts=1', 'lines dtr=0 rts=1', 'break on', 'break off'],
  ])
})

test('a fake line keeps the framing that a pseudo-terminal drops', async () => {
  await using lines = await openFakeLines()
  await using port = await openFakePort()
  lines.add(port.path)
  const env = { ...process.env, ...lines.env }
  const set = ['-F', port.path, 'cs7', 'parenb', 'parodd', 'cmspar', 'cstopb', '57600']
  expect(spawnSync('stty', set, { env, encoding: 'utf8' }).stderr).toBe('')
  const { stdout } = spawnSync('stty', ['-F', port.path, '-a'], { env, encoding: 'utf8' })
  expect(stdout).toMatch(/57600.*parenb parodd cmspar cs7.*[^-]cstopb/s)
})

test('crossed wires lead from the control lines of one to the inputs of the other', async () => {
  await using lines = await openFakeLines()
  await using cable = await openCable()
  lines.add(cable.a.path, { to: cable.b.path })
  const b = lines.add(cable.b.path, { to: cable.a.path })
  const script = `
print(bool(struct.unpack('I', fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))[0] & termios.TIOCM_CTS))
other = os.open('${cable.b.path}', os.O_RDWR | os.O_NOCTTY)
print(bool(struct.unpack('I', fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))[0] & termios.TIOCM_CTS))`
  const { stdout, stderr } = spawnSync(...ask(cable.a.path, script), {
    env: { ...process.env, ...lines.env },
    encoding: 'utf8',
  })
  expect(stdout + stderr).toBe('False\nTrue\n')
  expect(b.rts).toBe(true)
})

test('without the library nothing is different', async () => {
  await using lines = await openFakeLines()
  await using port = await openFakePort()
  lines.add(port.path)
  const { stderr } = spawnSync(...ask(port.path, `fcntl.ioctl(fd, termios.TIOCMGET, bytes(4))`), {
    encoding: 'utf8',
  })
  expect(stderr).toContain('Inappropriate ioctl')
})
