import { startController } from '#controller/main.ts'
import { logTo } from '#telemetry/log.ts'

/** A controller in a process of its own, so that its memory can be told from the attacker's. */
const controller = await startController({
  listen: '127.0.0.1:0',
  dataDir: process.argv[2]!,
  log: logTo({ write: () => {} }, 'controller', 'warn'),
})
process.send?.({ address: controller.listening })

process.on('message', async (message: { csr?: Uint8Array; memory?: true }) => {
  if (message.csr) {
    const order = { kind: 'operator', name: 'admin', role: 'admin', csr: message.csr } as const
    process.send?.(await controller.issueLocally(order))
  } else if (message.memory) {
    globalThis.gc?.()
    process.send?.({ rss: process.memoryUsage.rss() })
  }
})
process.once('disconnect', async () => {
  await controller.close()
  process.exit()
})
