import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { type ChannelOptions, credentials } from '@grpc/grpc-js'
import { controllerServerName } from '#identity/name.ts'

/** One message may carry a Sync of some ten thousand relays, and no more. */
export const maxMessageBytes = 16 * 1024 * 1024

/**
 * A partition shows only as silence: without a ping each five seconds it stayed unnoticed for 25 s and more.
 * Both ends use these.
 */
export const keepalive: ChannelOptions = {
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.keepalive_permit_without_calls': 1,
}

/** `checkServerIdentity` is identity/'s: it also wants the controller's own kind of certificate. */
export function channelCredentials(
  tls: SecureContextOptions & {
    checkServerIdentity?: (host: string, cert: import('node:tls').PeerCertificate) => Error | undefined
  },
) {
  const { checkServerIdentity, ...context } = tls
  return credentials.createFromSecureContext(
    createSecureContext(context),
    checkServerIdentity && { checkServerIdentity },
  )
}

export const channelOptions: ChannelOptions = {
  ...keepalive,
  'grpc.ssl_target_name_override': controllerServerName,
  'grpc.default_authority': controllerServerName,
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  // The agent and the CLI decide themselves when to try again; retries beneath them would repeat a mutation.
  'grpc.enable_retries': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // Two channels to one controller (an old certificate's and a new one's) must not share a connection.
  'grpc.use_local_subchannel_pool': 1,
  // Its records are for a debugger that nobody attaches.
  'grpc.enable_channelz': 0,
}

/** For one controller: a proxy of the environment cannot reach what runs on this very host. */
export const channelOptionsFor = (address: string): ChannelOptions => ({
  ...channelOptions,
  'grpc.enable_http_proxy': /^(127\.|localhost:|\[::1\])/.test(address) ? 0 : 1,
})
