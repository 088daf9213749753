import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { fileUsers } from './as-file.ts'
import { heldPort } from './locks.ts'
import type { LineCounters } from './port.ts'
import { type PortUser, portUsers } from './port-users.ts'

/** A serial port of this host. */
export interface ListedPort {
  /** `/dev/ttyUSB0`: may be another one's after the next plug. */
  readonly path: string
  /** Names that stay with the device, and then such as stay with the socket that it is plugged into. */
  readonly names: readonly string[]
  readonly driver?: string
  readonly usb?: UsbDevice
  /** Who has it open: relays and programs of this process by name, other programs as far as they can be seen. */
  readonly users: readonly (PortUser & { readonly holder?: string })[]
  /** What it has counted of errors since it is there. Absent where it counts none, or this process does not have it open. */
  readonly errors?: LineCounters
}

export interface UsbDevice {
  /** In hexadecimal, as `lsusb` writes them. */
  readonly vendor: string
  readonly product: string
  readonly serial?: string
  readonly manufacturer?: string
  readonly name?: string
  /** Of devices with several ports: which. */
  readonly interface?: string
}

const nameFolders = ['by-id', 'by-path']

/**
 * All serial ports, by their paths. The kernel is asked, by way of its files below `root`, and not udevadm: that is not
 * everywhere, and knows no ports that are part of a chip.
 */
export async function listPorts(root = '/'): Promise<readonly ListedPort[]> {
  const ports = await findPorts(root)
  const users = await portUsers(new Set(ports.flatMap(({ rdev }) => (rdev === undefined ? [] : [rdev]))))
  return Promise.all(
    ports.map(async ({ rdev, ...port }) => {
      if (rdev === undefined) return { ...port, users: [] }
      const errors = await errorsOf(rdev)
      return { ...port, users: usersOf(rdev, users), ...(errors && { errors }) }
    }),
  )
}

/** Only of a port that is open: opening one would raise its control lines. */
async function errorsOf(rdev: number): Promise<LineCounters | undefined> {
  return await heldPort(rdev)
    ?.counters?.()
    .catch(() => undefined)
}

/** The same without a look at who has them, which takes its time on a busy host. */
export async function findPorts(root = '/'): Promise<readonly FoundPort[]> {
  const ttys = await readdir(join(root, 'sys/class/tty')).catch(() => [])
  const names = await stableNames(root)
  const found = await Promise.all(ttys.map(tty => inspect(root, tty, names)))
  return found.filter(port => port !== undefined).sort((a, b) => collator.compare(a.path, b.path))
}

const collator = new Intl.Collator('en', { numeric: true })

/**
 * The names below /dev/serial that lead to this device now, those that stay with the device first: how it is found again
 * when it comes back under another number.
 */
export async function namesOf(path: string, root = '/'): Promise<readonly string[]> {
  return (await stableNames(root)).get(path) ?? []
}

function usersOf(rdev: number, users: ReadonlyMap<number, PortUser[]>): ListedPort['users'] {
  const held = heldPort(rdev)
  const ours = [...(held ? [held] : []), ...fileUsers(rdev)]
  const own = ours.map(({ holder }) => ({ pid: process.pid, program: 'fleetcat', holder }))
  return [...own, ...(users.get(rdev) ?? [])]
}

export type FoundPort = Omit<ListedPort, 'users' | 'errors'> & { readonly rdev?: number }

/** Undefined for what is no port: consoles, pseudo-terminals, and places for chips that this host does not have. */
async function inspect(
  root: string,
  tty: string,
  names: ReadonlyMap<string, readonly string[]>,
): Promise<FoundPort | undefined> {
  const folder = join(root, 'sys/class/tty', tty)
  const device = await realpath(join(folder, 'device')).catch(() => undefined)
  if (device === undefined) return undefined
  if ((await line(join(folder, 'type'))) === '0') return undefined
  const path = `/dev/${tty.replaceAll('!', '/')}`
  const stats = await stat(join(root, path)).catch(() => undefined)
  if (!stats) return undefined
  const chain = ancestors(device, await realpath(join(root, 'sys')))
  const driver = await driverOf(chain)
  const usb = await usbOf(chain)
  return {
    path,
    names: names.get(path) ?? [],
    ...(driver !== undefined && { driver }),
    ...(usb && { usb }),
    ...(stats.isCharacterDevice() && { rdev: stats.rdev }),
  }
}

/** The device, its parent, and so on up to `top`. */
function ancestors(device: string, top: string): string[] {
  const chain: string[] = []
  for (let at = device; at.startsWith(`${top}/`); at = dirname(at)) chain.push(at)
  return chain
}

/** Newer kernels put devices of their own between the port and the one that has the driver. */
const between: ReadonlySet<string> = new Set(['port', 'ctrl'])

async function driverOf(chain: readonly string[]): Promise<string | undefined> {
  for (const device of chain) {
    const driver = await readlink(join(device, 'driver')).catch(() => undefined)
    if (driver !== undefined && !between.has(basename(driver))) return basename(driver)
  }
  return undefined
}

async function usbOf(chain: readonly string[]): Promise<UsbDevice | undefined> {
  let port: string | undefined
  for (const device of chain) {
    port ??= await line(join(device, 'bInterfaceNumber'))
    const vendor = await line(join(device, 'idVendor'))
    const product = await line(join(device, 'idProduct'))
    if (vendor === undefined || product === undefined) continue
    const texts = {
      serial: await line(join(device, 'serial')),
      manufacturer: await line(join(device, 'manufacturer')),
      name: await line(join(device, 'product')),
      interface: port,
    }
    const known = Object.entries(texts).filter(([, text]) => text !== undefined)
    return { vendor, product, ...Object.fromEntries(known) }
  }
  return undefined
}

/** Undefined where there is no such file, or nothing in it. A device may say anything of itself. */
async function line(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.replace(/\p{C}/gu, '').trim().slice(0, 256) || undefined
}

async function stableNames(root: string): Promise<Map<string, string[]>> {
  const names = new Map<string, string[]>()
  for (const folder of nameFolders) {
    const at = join('/dev/serial', folder)
    for (const name of (await readdir(join(root, at)).catch(() => [])).sort()) {
      const target = await readlink(join(root, at, name)).catch(() => undefined)
      if (target === undefined) continue
      const path = resolve(at, target)
      names.set(path, [...(names.get(path) ?? []), join(at, name)])
    }
  }
  return names
}
