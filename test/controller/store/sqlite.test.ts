import { openSqliteStore } from '#controller/store/sqlite.ts'
import type { Store } from '#controller/store/store.ts'
import { storeConformance } from '#test/conformance/store.ts'
import { temporaryDirectory } from './temporary-directory.ts'

storeConformance('sqlite', async options => {
  const directory = temporaryDirectory()
  const store = await openSqliteStore(directory.path, options)
  return {
    ...store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      directory[Symbol.dispose]()
    },
  } satisfies Store
})
