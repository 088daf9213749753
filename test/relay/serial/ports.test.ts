import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { openPort } from '#relay/serial/open-port.ts'
import { listPorts, namesOf } from '#relay/serial/ports.ts'
import { openContext } from '#test/resources/contexts.ts'
import { openScratch } from '#test/resources/scratch.ts'
import { openFakePort } from '#test/resources/serial/cables.ts'
import { openDriven } from '#test/resources/serial/driver.ts'

/** A host's files below a root: text is a file, `→` a symbolic link. */
function lay(root: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    const at = join(root, path)
    mkdirSync(dirname(at), { recursive: true })
    if (text.startsWith('→')) symlinkSync(text.slice(1), at)
    else writeFileSync(at, text)
  }
}

const usb = 'sys/devices/pci0000:00/0000:00:14.0/usb1/1-2'

const host = {
  // A USB adapter, which udev gave names to.
  [`${usb}/idVendor`]: '0403\n',
  [`${usb}/idProduct`]: '6001\n',
  [`${usb}/serial`]: 'A50285BI\n',
  [`${usb}/manufacturer`]: 'FTDI\n',
  [`${usb}/product`]: 'FT232R \x1b[31mUSB UART\n',
  [`${usb}/1-2:1.0/bInterfaceNumber`]: '00\n',
  [`${usb}/1-2:1.0/ttyUSB0/driver`]: '→../../../../../../../bus/usb-serial/drivers/ftdi_sio',
  [`${usb}/1-2:1.0/ttyUSB0/tty/ttyUSB0/device`]: '→../..',
  'sys/class/tty/ttyUSB0': `→../../../${usb}/1-2:1.0/ttyUSB0/tty/ttyUSB0`,
  'dev/ttyUSB0': '',
  'dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0': '→../../ttyUSB0',
  'dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0': '→../../ttyUSB0',
  // A port of the chip itself, below a driver of newer kernels that only lies in between.
  'sys/devices/platform/3100000.serial/driver': '→../../../bus/platform/drivers/serial-tegra',
  'sys/devices/platform/3100000.serial/3100000.serial:0.0/driver':
    '→../../../../bus/serial-base/drivers/port',
  'sys/devices/platform/3100000.serial/3100000.serial:0.0/tty/ttyTHS1/device': '→../..',
  'sys/devices/platform/3100000.serial/3100000.serial:0.0/tty/ttyTHS1/type': '20\n',
  'sys/class/tty/ttyTHS1': '→../../devices/platform/3100000.serial/3100000.serial:0.0/tty/ttyTHS1',
  'dev/ttyTHS1': '',
  'sys/devices/platform/uart10/tty/ttymxc10/device': '→../..',
  'sys/class/tty/ttymxc10': '→../../devices/platform/uart10/tty/ttymxc10',
  'dev/ttymxc10': '',
  'sys/devices/platform/uart2/tty/ttymxc2/device': '→../..',
  'sys/class/tty/ttymxc2': '→../../devices/platform/uart2/tty/ttymxc2',
  'dev/ttymxc2': '',
  // A place for a chip that is not there, a console, and a device whose node is missing.
  'sys/devices/platform/serial8250/tty/ttyS3/device': '→../..',
  'sys/devices/platform/serial8250/tty/ttyS3/type': '0\n',
  'sys/class/tty/ttyS3': '→../../devices/platform/serial8250/tty/ttyS3',
  'dev/ttyS3': '',
  'sys/class/tty/tty0/dev': '4:0\n',
  'dev/tty0': '',
  'sys/devices/platform/uart9/tty/ttymxc9/device': '→../..',
  'sys/class/tty/ttymxc9': '→../../devices/platform/uart9/tty/ttymxc9',
}

test('ports are what has a device, whatever they are called, with what it says of itself', async () => {
  await using root = await openScratch()
  lay(root.path, host)
  expect(await listPorts(root.path)).toEqual([
    { path: '/dev/ttymxc2', names: [], users: [] },
    { path: '/dev/ttymxc10', names: [], users: [] },
    { path: '/dev/ttyTHS1', names: [], driver: 'serial-tegra', users: [] },
    {
      path: '/dev/ttyUSB0',
      names: [
        '/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0',
        '/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0',
      ],
      driver: 'ftdi_sio',
      usb: {
        vendor: '0403',
        product: '6001',
        serial: 'A50285BI',
        manufacturer: 'FTDI',
        name: 'FT232R [31mUSB UART',
        interface: '00',
      },
      users: [],
    },
  ])
})

test('the names that stay with a device come first', async () => {
  await using root = await openScratch()
  lay(root.path, host)
  expect(await namesOf('/dev/ttyUSB0', root.path)).toEqual([
    expect.stringContaining('by-id'),
    expect.stringContaining('by-path'),
  ])
  expect(await namesOf('/dev/ttyTHS1', root.path)).toEqual([])
})

test('a host without any has none', async () => {
  await using root = await openScratch()
  expect(await listPorts(root.path)).toEqual([])
  expect(await listPorts()).toBeInstanceOf(Array)
})

test('who has a port is listed with it, relays of this process and programs', async () => {
  await using root = await openScratch()
  await using ours = await openFakePort()
  await using theirs = await openFakePort()
  lay(root.path, {
    'sys/devices/platform/uart2/tty/ttyA/device': '→../..',
    'sys/class/tty/ttyA': '→../../devices/platform/uart2/tty/ttyA',
    'dev/ttyA': `→${ours.path}`,
    'sys/devices/platform/uart3/tty/ttyB/device': '→../..',
    'sys/class/tty/ttyB': '→../../devices/platform/uart3/tty/ttyB',
    'dev/ttyB': `→${theirs.path}`,
  })
  await using _opened = await openPort(ours.path, { holder: 'relay lab' }, openContext())
  await using driven = await openDriven(theirs.path)
  // A test beside this one may have had a terminal of the same number, and not have let go of it yet.
  const among = (user: object) => expect.arrayContaining([expect.objectContaining(user)])
  expect(await listPorts(root.path)).toMatchObject([
    { path: '/dev/ttyA', users: among({ pid: process.pid, program: 'fleetcat', holder: 'relay lab' }) },
    { path: '/dev/ttyB', users: among({ pid: driven.pid, program: 'node' }) },
  ])
})
