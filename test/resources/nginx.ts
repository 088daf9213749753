import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Program, startProgram } from './program.ts'
import { exchange } from './servers.ts'
import { until } from './until.ts'

/** An nginx that answers with its name. */
export interface Nginx extends AsyncDisposable {
  start(): Promise<void>
  stop(): Promise<void>
  /** Makes `/healthz` answer 503, or 200 again. */
  setSick(sick: boolean): Promise<void>
}

/** It keeps its files in a folder of its own below `folder`. Not started yet. */
export async function openNginx(folder: string, name: string, port: number): Promise<Nginx> {
  const home = join(folder, `nginx-${name}`)
  const sick = join(home, 'sick')
  await mkdir(home, { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    kind => `${kind}_temp_path ${home}/${kind};`,
  )
  await writeFile(
    join(home, 'nginx.conf'),
    `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off; worker_processes 1; pid ${home}/pid; error_log stderr;
events {}
http {
  access_log off; ${temporary.join(' ')}
  server {
    listen 127.0.0.1:${port};
    location / { default_type text/plain; return 200 "hello from ${name}\\n"; }
    location = /healthz { if (-f ${sick}) { return 503; } return 204; }
  }
}
`,
  )
  let program: Program | undefined
  const stop = async () => {
    await program?.[Symbol.asyncDispose]()
    program = undefined
  }
  return {
    async start() {
      program = startProgram(['nginx', '-p', home, '-c', join(home, 'nginx.conf'), '-e', 'stderr'])
      await until(`nginx ${name} answers`, () => exchange(port, 'GET / HTTP/1.0\r\n\r\n'))
    },
    stop,
    setSick: isSick => (isSick ? writeFile(sick, '') : rm(sick, { force: true })),
    [Symbol.asyncDispose]: stop,
  }
}
