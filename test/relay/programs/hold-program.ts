import { openEgress } from '#relay/egress.ts'
import { bindAddress } from '#relay/endpoints/index.ts'

/** Starts the program of an address, passes on what it says, and keeps it. */
const channel = await bindAddress(process.argv[2]!).dialer!.dial({
  signal: new AbortController().signal,
  egress: openEgress,
})
channel.stream.pipe(process.stdout)
