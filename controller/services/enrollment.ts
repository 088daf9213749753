import type { ServerUnaryCall, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js'
import type { EnrollRequest, EnrollResponse } from '#gen/fleetcat/v1/enrollment.ts'
import { strangerAt } from '../actor.ts'
import { sourceOf } from '../crowd.ts'
import type { Parts } from '../parts.ts'
import { refusal } from './handlers.ts'

/** The one thing to be had without a certificate: a certificate, for a join token. */
export function enrolmentService({ tokens, alerts, log }: Parts): UntypedServiceImplementation {
  return {
    async enroll(
      call: ServerUnaryCall<EnrollRequest, EnrollResponse>,
      answer: sendUnaryData<EnrollResponse>,
    ) {
      try {
        answer(null, await tokens.redeem(call.request, call.getPeer()))
      } catch (thrown) {
        const peer = call.getPeer()
        const source = sourceOf(peer.slice(0, peer.lastIndexOf(':')))
        const { tokenId, name } = call.request
        alerts.raise(source, {
          by: strangerAt(peer),
          event: 'enrolment.refused',
          outcome: 'refused',
          target: `token/${tokenId}`,
          fields: { peer, tokenId, name, error: thrown },
          words: 'enrolment refused',
        })
        answer(refusal('enroll', thrown, log))
      }
    },
  }
}
