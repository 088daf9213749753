import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { type Program, run, startProgram } from './program.ts'

export interface PostgresPlace {
  /** Where its data and its Unix socket are; anybody must be able to write there. */
  readonly folder: string
  /** It listens on loopback there, and not only on its Unix socket. */
  readonly port?: number
  readonly netns?: string
}

/** A PostgreSQL of the test's own, which trusts everybody who reaches it. */
export async function startPostgres({ folder, port, netns }: PostgresPlace): Promise<Program> {
  const programs = execFileSync('pg_config', ['--bindir']).toString().trim()
  const data = join(folder, 'data')
  // It refuses to run as root.
  const asUser =
    process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []
  const initdb = [`${programs}/initdb`, '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync']
  const made = await run([...asUser, ...initdb])
  if (made.code !== 0) throw new Error(made.stdout + made.stderr)
  const settings = [
    `listen_addresses=${port === undefined ? '' : '127.0.0.1'}`,
    `port=${port ?? 5432}`,
    `unix_socket_directories=${folder}`,
    'fsync=off',
  ]
  const command = [...asUser, `${programs}/postgres`, '-D', data, ...settings.flatMap(s => ['-c', s])]
  const server = startProgram(command, netns === undefined ? {} : { netns })
  await server.says(/database system is ready/)
  return server
}
