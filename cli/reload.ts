import type { Logger } from '#telemetry/log.ts'

/** SIGHUP makes an agent read its agent.yaml again. A bad file leaves the old one in force. */
export function watchOverAgent(agent: { reload(): Promise<void> }, log: Logger): Disposable {
  const reload = async () => {
    try {
      await agent.reload()
    } catch (error) {
      log.error(
        { event: 'config.refused', error },
        'the new configuration is refused; the old one stays in force',
      )
    }
  }
  process.on('SIGHUP', reload)
  return {
    [Symbol.dispose]() {
      process.off('SIGHUP', reload)
    },
  }
}
