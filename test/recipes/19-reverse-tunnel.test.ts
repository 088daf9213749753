import { createServer } from 'node:http'
import { expect } from 'vitest'
import { openFleet } from '../e2e/fleet.ts'
import { needing } from '../resources/needs.ts'
import { freePort } from '../resources/ports.ts'
import { run } from '../resources/program.ts'
import { follow, permitted, readPage } from './guide.ts'

needing('bash', 'curl')(
  'a page on a laptop is seen at a host that the laptop has only dialled out from, as the guide has it',
  async () => {
    await using fleet = await openFleet()
    const server = createServer((_, response) => response.end('hello from the laptop\n'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    await using _ = {
      [Symbol.asyncDispose]: () => new Promise<void>(done => server.close(() => done())),
    }
    const { port } = server.address() as { port: number }
    const listen = String(await freePort())
    const page = readPage('19-reverse-tunnel', { ':3000': `:${port}`, ':8080': `:${listen}` })
    await fleet.startController()
    await fleet.startAgent('relay-host', permitted(page))
    await fleet.startAgent('laptop')

    const { code, stdout, stderr } = await follow(page, fleet)
    expect(stderr).not.toMatch(/fleetcat:/)
    expect(code).toBe(0)
    expect(stdout).toContain('hello from the laptop')

    await fleet.cat(['revoke', 'agent/laptop', '--reason', 'it was stolen', '--yes'])
    const after = await run(['curl', '-s', '--max-time', '10', `http://127.0.0.1:${listen}/`])
    expect(after.code).not.toBe(0)
    expect(after.stdout).toBe('')
  },
  60_000,
)
