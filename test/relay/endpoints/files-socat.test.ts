import { chmod, lstat, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { bindAddress } from '#relay/endpoints/index.ts'
import { openContext } from '#test/resources/contexts.ts'
import { needing } from '#test/resources/needs.ts'
import { run } from '#test/resources/program.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { receive } from '#test/resources/streams.ts'

const socat = async (address: string, way: 'write' | 'read') => {
  const addresses = way === 'write' ? ['-', address] : [address, '-']
  const { code, stdout } = await run(['socat', '-u', ...addresses], { input: 'ab' })
  return { worked: code === 0, stdout }
}

const fleetcat = async (address: string, way: 'write' | 'read') => {
  try {
    await using channel = await bindAddress(address).dialer!.dial(openContext({ uses: way }))
    if (way === 'read') return { worked: true, stdout: String(await receive(channel.stream)) }
    await new Promise<void>(done => channel.stream.end('ab', done))
    return { worked: true, stdout: '' }
  } catch {
    return { worked: false, stdout: '' }
  }
}

/** What is left of a directory of known files when an address in it has been written to, or read. */
async function afterwards(act: typeof socat, address: string, way: 'write' | 'read') {
  await using scratch = await openScratch()
  const at = (name: string) => join(scratch.path, name)
  await writeFile(at('old'), '0123456789')
  await chmod(at('old'), 0o640)
  await symlink('old', at('link'))
  await symlink('new', at('dangling'))
  const outcome = await act(address.replaceAll('AT', scratch.path), way)
  const left = async (name: string) => {
    const found = await lstat(at(name)).catch(() => undefined)
    if (!found) return 'nothing'
    if (!found.isFile()) return 'no regular file'
    return `${(found.mode & 0o7777).toString(8)} ${await readFile(at(name), 'latin1')}`
  }
  return { ...outcome, old: await left('old'), new: await left('new'), link: await left('link') }
}

const written = [
  'OPEN:AT/old',
  'OPEN:AT/old,append',
  'OPEN:AT/old,trunc',
  'OPEN:AT/old,seek=3',
  'OPEN:AT/old,seek-end=-2',
  'OPEN:AT/old,seek=2,seek-cur=2',
  'OPEN:AT/old,ftruncate=4,append',
  'OPEN:AT/old,creat,excl',
  'OPEN:AT/old,mode=777',
  'OPEN:AT/old,perm-late=600',
  'OPEN:AT/old,creat,unlink-early',
  'OPEN:AT/old,unlink-late',
  'OPEN:AT/old,unlink-close',
  'OPEN:AT/new',
  'OPEN:AT/new,creat',
  'OPEN:AT/new,creat,excl,mode=600',
  'OPEN:AT/new,creat,umask=077',
  'OPEN:AT/link',
  'OPEN:AT/link,nofollow',
  'OPEN:AT/dangling,creat',
  'OPEN:AT/none/new,creat',
  'FILE:AT/old,append',
  'GOPEN:AT/old',
  'GOPEN:AT/new',
  'GOPEN:AT/link',
  'AT/old',
  'AT/new',
  'CREATE:AT/old',
  'CREATE:AT/new,mode=600',
  'PIPE:AT/none/new',
]
const read = [
  'OPEN:AT/old',
  'OPEN:AT/old,seek=4',
  'OPEN:AT/new',
  'GOPEN:AT/link',
  'AT/old',
  'OPEN:AT/old,unlink-close',
]

for (const [way, addresses] of [
  ['write', written],
  ['read', read],
] as const) {
  for (const address of addresses) {
    needing('socat')(`to ${way} ${address} does as socat does`, async () => {
      expect(await afterwards(fleetcat, address, way)).toEqual(await afterwards(socat, address, way))
    })
  }
}
