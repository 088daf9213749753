import { openMemoryStore } from '#controller/store/memory.ts'
import { storeConformance } from '#test/conformance/store.ts'

storeConformance('memory', openMemoryStore)
