import { closeSync, mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadLibc } from '#relay/native/libc.ts'
import { applyTermios } from '#relay/terminal/apply-termios.ts'
import { openPty } from '#relay/terminal/open-pty.ts'
import { terminalStream } from '#relay/terminal/terminal-stream.ts'
import { readTermios } from '#relay/terminal/termios.ts'
import { needing } from '#test/resources/needs.ts'
import { run, startProgram } from '#test/resources/program.ts'
import { destroyed, termios } from '#test/resources/terminals.ts'
import { until } from '#test/resources/until.ts'

/** What `stty` reads of a terminal that has these options, in its own shorthand or in words. */
async function settingsOf(options: string, how: '-g' | '-a' = '-g'): Promise<string> {
  const { master, slavePath } = await openPty()
  const stream = await terminalStreamOf(master, options)
  try {
    return await stty(slavePath, how)
  } finally {
    await destroyed(stream)
  }
}

async function terminalStreamOf(master: number, options: string) {
  const applied = await applyTermios(master, termios(options)).catch((error: unknown) => error)
  const stream = await terminalStream(master)
  if (!applied) return stream
  await destroyed(stream)
  throw applied
}

async function stty(path: string, how: string): Promise<string> {
  const { stdout, stderr, code } = await run(['stty', '-F', path, how])
  if (code !== 0) throw new Error(stderr)
  return stdout.trim()
}

/** Waits until socat has a terminal that is set like this: the link is there before it is set. */
async function expectOfSocat(options: string, wanted: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetcat-test-'))
  const link = join(folder, 'pty')
  try {
    await using _socat = startProgram(['socat', `PTY,link=${link},${options}`, 'PIPE'])
    await until(
      `socat has set its terminal to ${wanted}`,
      async () => (await stty(link, '-g')) === wanted,
      5_000,
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}

describe('the settings of a terminal', () => {
  for (const options of [
    'raw',
    'raw,echo=0',
    'cfmakeraw',
    'sane',
    'raw,opost,echo=0,icanon',
    'icanon=0,isig=0,echoe=0,echok=0,echoke=0,echoctl=0,iexten=0,icrnl=0,ixon=0,onlcr=0,opost=0',
    'ignbrk,brkint,ignpar,parmrk,inpck,istrip,inlcr,igncr,iuclc,ixany,ixoff,imaxbel',
    'olcuc,ocrnl,onocr,onlret,ofill,ofdel,nldly,bsdly,vtdly,ffdly,crdly=3,tabdly=2',
    'cstopb,parodd,hupcl,clocal,crtscts',
    'xcase,echonl,noflsh,tostop,echoprt,flusho,pendin',
    'nl1,cr2,tab3,bs1,vt1,ff1',
    'nl0,cr0,tab1,bs0,vt0,ff0',
    'xtabs',
    'vintr=1,quit=2,erase=3,kill=4,eof=5,time=6,min=7,start=8,stop=9,susp=10,eol=11,eol2=12',
    'reprint=1,discard=2,werase=3,lnext=4,vswtc=0x05',
    'b50',
    'b0',
    'b115200,raw',
    'b4000000',
    'tandem,hup,crterase,ctlecho,prterase,crtkill,rprnt=7',
  ]) {
    needing('socat')(`\`${options}\` is what it is in socat`, async () => {
      await expectOfSocat(options, await settingsOf(options))
    })
  }

  needing('socat')('`rawer` is what it is in socat, but keeps the speed', async () => {
    await expectOfSocat('rawer', await settingsOf('rawer,b0'))
    expect(await settingsOf('rawer', '-a')).toContain('speed 38400 baud')
  })

  test('a speed may be any, and one of its own for each way', async () => {
    const { master } = await openPty()
    try {
      await applyTermios(master, termios('ispeed=9600,ospeed=250000'))
      const libc = await loadLibc('the test')
      expect(readTermios(libc, master)).toMatchObject({ inputSpeed: 9_600, outputSpeed: 250_000 })
    } finally {
      closeSync(master)
    }
  })

  test('the order of the options is the order in which they work', async () => {
    expect(await settingsOf('opost,raw', '-a')).toContain('-opost')
    expect(await settingsOf('raw,opost', '-a')).not.toContain('-opost')
  })

  for (const [options, option] of [
    ['cs7', 'cs7'],
    ['raw,parenb', 'parenb'],
    ['cread=0', 'cread'],
    ['csize=2,echo=0', 'csize'],
  ] as const) {
    test(`what a terminal does not keep is refused by its name: ${option}`, async () => {
      await expect(settingsOf(options)).rejects.toMatchObject({
        code: 'unsupported',
        why: `this terminal does not keep \`${option}\``,
      })
    })
  }

  test('what is no terminal has none', async () => {
    const { open } = await import('node:fs/promises')
    await using file = await open('/dev/null')
    await expect(applyTermios(file.fd, termios('raw'), 'OPEN:/dev/null')).rejects.toMatchObject({
      code: 'unsupported',
      what: 'OPEN:/dev/null',
      why: 'it is no terminal',
    })
  })

  for (const [options, problem] of [
    ['raw=0', 'it takes no value'],
    ['b9601', 'is not one of'],
    ['echo=2', 'it is a flag'],
    ['intr=256', 'it is no byte'],
    ['eof', 'it needs a value'],
    ['tabdly=4', 'from 0 to 3'],
    ['ispeed=0', 'from 1 to'],
    ['cs8,crdly', 'it needs a value'],
    ['rwa', 'Did you mean `raw`'],
    ['vmin=1,min=2', 'twice, as `vmin` and as `min`'],
  ] as const) {
    test(`\`${options}\` is refused with what would be right`, () => {
      expect(() => termios(options)).toThrow(problem)
    })
  }
})
