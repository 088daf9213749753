/** Work that is begun in order and may end in any. What fails first is thrown at the next chance. */
export interface Crew {
  /** Begins the task as soon as fewer than the most are under way. Rejects with what has failed before. */
  begin(task: () => Promise<void>): Promise<void>
  /** Waits for all that was begun, whether it failed or not. */
  over(): Promise<void>
}

export function crew(most: number): Crew {
  let busy = 0
  let failed: { readonly error: unknown } | undefined
  let wake: (() => void) | undefined

  const onceFewer = async (than: number) => {
    while (busy >= than) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
    if (failed) throw failed.error
  }

  const ended = () => {
    busy--
    const waiting = wake
    wake = undefined
    waiting?.()
  }

  return {
    async begin(task) {
      await onceFewer(most)
      busy++
      task()
        .catch(error => {
          failed ??= { error }
        })
        .finally(ended)
    },
    over: () => onceFewer(1),
  }
}
