import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/resources/leaks.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Tests wait for conditions; this is for what hangs, also on a machine that is busy with something else.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
