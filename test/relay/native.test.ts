import { expect, test } from 'vitest'
import { root, run } from '#test/resources/program.ts'

test('to know all kinds of address, and to read one with every native option, loads no native module', async () => {
  const script = `
    const { bindAddress } = await import('#relay/endpoints/index.ts')
    bindAddress('PTY,raw,b9600,link=/tmp/modem')
    bindAddress('TCP-LISTEN:80,fork,interface=eth0,so-mark=1')
    bindAddress('UNIX-LISTEN:/tmp/app.sock')
    bindAddress('SERIAL:/dev/ttyUSB0,b9600,share,log=/tmp/log')
    console.log(process.report.getReport().sharedObjects.filter(each => each.endsWith('.node')).length)
  `
  const { stdout, stderr } = await run([process.execPath, '--input-type=module', '-e', script], { cwd: root })
  expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' })
})
