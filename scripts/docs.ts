import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addressesPage } from './addresses-page.ts'
import { guidePage } from './guide-page.ts'

// Writes the pages that are made from the code and from other pages.
const docs = join(import.meta.dirname, '../docs')
writeFileSync(join(docs, 'reference/addresses.md'), addressesPage())
writeFileSync(join(docs, 'guide/README.md'), guidePage())
