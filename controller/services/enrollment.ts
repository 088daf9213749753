import type { ServerUnaryCall, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js'
import type { EnrollRequest, EnrollResponse } from '#gen/fleetcat/v1/enrollment.ts'
import type { Logger } from '#telemetry/log.ts'
import type { Tokens } from '../tokens.ts'
import { refusal } from './handlers.ts'

/** The one thing to be had without a certificate: a certificate, for a join token. */
export function enrolmentService(tokens: Tokens, log: Logger): UntypedServiceImplementation {
  return {
    async enroll(
      call: ServerUnaryCall<EnrollRequest, EnrollResponse>,
      answer: sendUnaryData<EnrollResponse>,
    ) {
      try {
        answer(null, await tokens.redeem(call.request, call.getPeer()))
      } catch (thrown) {
        log.warn({ event: 'enrolment.refused', peer: call.getPeer(), error: thrown }, 'enrolment refused')
        answer(refusal('enroll', thrown, log))
      }
    },
  }
}
