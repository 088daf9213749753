import { readFileSync } from 'node:fs'

// The last line of a check: how many tests ran, for a reader and for a machine.
const [file = '.cache/tests.json'] = process.argv.slice(2)
const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(file, 'utf8'))
process.stdout.write(
  `Tests: ${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped\n`,
)
