import { expect, test } from 'vitest'
import { bindListen } from '#relay/endpoints/index.ts'
import { lookUp } from '#relay/endpoints/names.ts'
import { openContext } from '../../resources/contexts.ts'
import { openFolder } from '../../resources/folder.ts'
import { needing } from '../../resources/needs.ts'
import { root, run } from '../../resources/program.ts'

test('localhost is loopback, whatever a resolver says', async () => {
  const lying = openContext({ lookup: async () => [{ address: '0.0.0.0', family: 4 }] })
  for (const name of ['localhost', 'localhost.', 'LOCALHOST']) {
    const found = await lookUp(name, lying, 1_000, 'test')
    expect(found.map(({ address }) => address)).toEqual(['127.0.0.1', '::1'])
    await using listener = await bindListen(`TCP-LISTEN:0,bind=${name}`).acceptor!.listen(lying)
    expect(listener.local).toMatch(/^(127\.0\.0\.1|\[::1\]):/)
  }
})

/** In a namespace whose resolver is silent: a hundred dials of one dead name, and then a name of /etc/hosts. */
const program = `
  const { lookUp } = await import('#relay/endpoints/names.ts')
  const cx = { signal: new AbortController().signal, egress: { check() {} } }
  const dead = Array.from({ length: 100 }, () => lookUp('dead.example', cx, 300, 'dead').catch(error => error.code))
  await Promise.all(dead)
  const [found] = await lookUp('alive.test', cx, 5000, 'alive')
  process.stdout.write(found.address)
  process.exit()
`

needing(
  'root',
  'unshare',
  'mount',
  'socat',
)('one dead name does not keep the others waiting', async () => {
  const shell = [
    'ip link set lo up 2>/dev/null',
    'printf "nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n" > resolv && mount --bind resolv /etc/resolv.conf',
    'echo "127.0.0.9 alive.test" > hosts && mount --bind hosts /etc/hosts',
    // Takes the questions, and answers none.
    'socat -u UDP4-RECV:53,bind=127.0.0.1 /dev/null & silent=$!',
    'cd "$1" && "$2" --input-type=module -e "$3"; kill $silent',
  ].join('\n')
  await using folder = await openFolder()
  const command = ['unshare', '--net', '--mount', 'sh', '-c', shell, 'sh', root, process.execPath, program]
  const { stdout, stderr } = await run(command, { cwd: folder.path })
  expect(stderr).toBe('')
  expect(stdout).toBe('127.0.0.9')
})
