import { listPorts } from './ports.ts'

/** The serial ports of this host as one JSON document with an end, so that a reader knows that it has all of it. */
export async function portsText(): Promise<string> {
  return `${JSON.stringify({ ports: await listPorts() })}\n`
}
