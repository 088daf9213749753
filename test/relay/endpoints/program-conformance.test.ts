import { bindAddress } from '#relay/endpoints/index.ts'
import { conformance } from '#test/conformance/endpoint.ts'
import { openBridge } from '#test/resources/bridges.ts'

const unreachable = () => ({ endpoint: bindAddress('EXEC:/nonexistent/program'), code: 'not-found' })

conformance('EXEC', { resets: false, open: () => openBridge('socket'), unreachable })
conformance('EXEC with pipes', { resets: false, open: () => openBridge('pipes', ',pipes'), unreachable })
