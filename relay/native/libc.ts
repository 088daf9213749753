import { getSystemErrorName } from 'node:util'
import { RelayError } from '../errors.ts'

/** The functions of the C library that are called, none of which waits. On failure they return -1 and set errno. */
const signatures = {
  posix_openpt: 'int posix_openpt(int flags)',
  grantpt: 'int grantpt(int fd)',
  unlockpt: 'int unlockpt(int fd)',
  ioctl: 'int ioctl(int fd, unsigned long request, void *argument)',
  socketpair: 'int socketpair(int domain, int type, int protocol, void *pair)',
  pipe2: 'int pipe2(void *pair, int flags)',
  dup3: 'int dup3(int from, int to, int flags)',
  fcntl: 'int fcntl(int fd, int command, int argument)',
  lseek: 'long lseek(int fd, long offset, int whence)',
  flock: 'int flock(int fd, int operation)',
  mkfifo: 'int mkfifo(const void *path, unsigned int mode)',
  socket: 'int socket(int domain, int type, int protocol)',
  bind: 'int bind(int fd, void *address, unsigned int length)',
  setsockopt: 'int setsockopt(int fd, int level, int option, void *value, unsigned int length)',
  getsockopt: 'int getsockopt(int fd, int level, int option, void *value, void *length)',
  poll: 'int poll(void *fds, unsigned long count, int timeout)',
} as const

type Argument = number | Buffer

/** Throws the system's error, with its code, as Node's own functions do. */
export type Libc = { readonly [K in keyof typeof signatures]: (...args: Argument[]) => number } & {
  /** The same in a thread, for devices that may take their time over it. Nobody else may use the buffer meanwhile. */
  readonly inThread: { readonly ioctl: (...args: Argument[]) => Promise<number> }
}

let loading: Promise<Libc> | undefined

/** Numbers and layouts are those of Linux on these; `what` is what needs them. Rejects with a RelayError `unsupported`. */
export async function loadLibc(what: string): Promise<Libc> {
  const { platform, arch } = process
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch)) {
    const why = `it needs calls of the C library, which fleetcat makes on Linux for x64 and arm64 only; this is ${platform} on ${arch}`
    throw new RelayError('unsupported', { what, why, fix: 'Use it on such a host' })
  }
  loading ??= load()
  try {
    return await loading
  } catch (error) {
    const why = `koffi, which calls the C library, cannot be loaded: ${(error as Error).message}`
    throw new RelayError('unsupported', { what, why, fix: 'Install the dependencies of fleetcat again' })
  }
}

async function load(): Promise<Libc> {
  const { default: koffi } = await import('koffi')
  const program = koffi.load(null)
  const checked = ([name, signature]: [string, string]) => {
    const call = program.func(signature)
    return [
      name,
      (...args: Argument[]) => {
        const result: number = call(...args)
        if (result === -1) throw systemError(koffi.errno(), name)
        return result
      },
    ]
  }
  const ioctl = program.func(signatures.ioctl)
  const inThread = {
    ioctl: (...args: Argument[]) =>
      new Promise<number>((resolve, reject) => {
        ioctl.async(...args, (_error: unknown, result: number) => {
          if (result === -1) reject(systemError(koffi.errno(), 'ioctl'))
          else resolve(result)
        })
      }),
  }
  return { ...Object.fromEntries(Object.entries(signatures).map(checked)), inThread } as Libc
}

function systemError(errno: number, syscall: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${syscall}: ${code}`), { code, errno: -errno, syscall })
}
