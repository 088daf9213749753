import type { ListedPort } from '#relay/serial/ports.ts'
import type { Presentation } from '../output/print.ts'
import type { HostPorts } from '../serial/fleet-ports.ts'
import { errorsInWords } from '../serial/line-words.ts'

export interface SerialPortItem {
  readonly kind: 'SerialPort'
  readonly agent: string
  /** Null where the agent did not answer: `error` says why. */
  readonly path: string | null
  /** That of the device first, if it has one. */
  readonly names: readonly string[]
  readonly driver: string | null
  readonly usb: ListedPort['usb'] | null
  readonly users: readonly { readonly program: string; readonly pid: number; readonly holder?: string }[]
  /** What the device has counted on its line; null where it counts nothing, or no relay has it open. */
  readonly errors: ListedPort['errors'] | null
  readonly error: string | null
}

/** One for each port, and one for each agent that did not answer. */
export function serialPortItems(host: HostPorts): SerialPortItem[] {
  const { agent } = host
  const none = {
    kind: 'SerialPort',
    agent,
    names: [],
    driver: null,
    usb: null,
    users: [],
    errors: null,
  } as const
  if ('error' in host) return [{ ...none, path: null, error: host.error.why || host.error.message }]
  return host.ports.map(({ path, names, driver, usb, users, errors }) => ({
    ...none,
    path,
    names,
    driver: driver ?? null,
    usb: usb ?? null,
    users: users.map(({ program, pid, holder }) => ({
      program,
      pid,
      ...(holder !== undefined && { holder }),
    })),
    errors: errors ?? null,
    error: null,
  }))
}

const usersText = ({ users }: SerialPortItem) =>
  users.map(({ program, pid, holder }) => holder ?? `${program} (pid ${pid})`).join(', ')

const deviceText = ({ usb, driver }: SerialPortItem) =>
  usb
    ? [usb.manufacturer, usb.name ?? `${usb.vendor}:${usb.product}`].filter(Boolean).join(' ')
    : (driver ?? '')

const errorsText = ({ errors }: SerialPortItem) => (errors ? errorsInWords(errors) || 'none' : '')

/** The name that other commands take: the one that stays with the device, if there is one. */
const lastingPath = ({ names, path }: SerialPortItem) => names[0] ?? path ?? ''

export const serialPorts: Presentation<SerialPortItem> = {
  listKind: 'SerialPortList',
  none: 'No serial port anywhere.',
  unmatched: 'No serial port on the agents that match.',
  name: item => `@${item.agent}/${lastingPath(item)}`,
  key: item => `${item.agent}/${item.path}`,
  columns: [
    { title: 'AGENT', cell: item => item.agent },
    { title: 'PORT', cell: item => item.path ?? '' },
    { title: 'DEVICE', shrinks: true, cell: deviceText },
    { title: 'SERIAL', cell: item => item.usb?.serial ?? '' },
    {
      title: 'USED-BY',
      cell: item => (item.error === null ? usersText(item) : `no answer: ${item.error}`),
      colour: item => (item.error === null ? undefined : 'yellow'),
    },
    { title: 'LASTING-NAME', cell: item => item.names[0] ?? '', wide: true },
    { title: 'USB', cell: ({ usb }) => (usb ? `${usb.vendor}:${usb.product}` : ''), wide: true },
    { title: 'DRIVER', cell: item => item.driver ?? '', wide: true },
    { title: 'ERRORS', cell: errorsText, wide: true },
  ],
}
