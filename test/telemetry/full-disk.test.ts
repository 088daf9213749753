import { expect } from 'vitest'
import { needing } from '../resources/needs.ts'
import { root, run } from '../resources/program.ts'

const program = `
  const { openLog } = await import('#telemetry/log.ts')
  const log = await openLog('test', 'info')
  for (let i = 0; i < 100; i++) {
    log.info({ i }, 'a line that has nowhere to go')
    await new Promise(resolve => setImmediate(resolve))
  }
  process.stdout.write('alive')
`

needing('bash')(
  'a log that cannot be written, because the disk is full, does not end the process',
  async () => {
    const command = [
      'bash',
      '-c',
      `exec "$0" --input-type=module -e "$1" 2>/dev/full`,
      process.execPath,
      program,
    ]
    expect(await run(command, { cwd: root })).toMatchObject({ code: 0, stdout: 'alive' })
  },
)
