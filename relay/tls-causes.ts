import type { ErrorCode } from './errors.ts'

export interface TlsCause {
  readonly code: ErrorCode
  readonly why: string
  readonly fix?: string
}

/**
 * What OpenSSL's and Node's codes mean. `ALERT` in a code: the far side said so, of what we sent; without it: we say so,
 * of what came from there. The spellings differ between OpenSSL's versions in what stands before the words.
 */
const causes: readonly (readonly [RegExp, TlsCause])[] = [
  [
    /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT)$/,
    {
      code: 'unauthenticated',
      why: 'its certificate was signed by an authority that is not trusted here',
      fix: 'If it is the right peer, write `cafile=` with its authority (or the certificate, if it signed itself)',
    },
  ],
  [
    /^CERT_HAS_EXPIRED$/,
    { code: 'unauthenticated', why: 'its certificate has expired', fix: 'Renew it there' },
  ],
  [
    /^CERT_NOT_YET_VALID$/,
    {
      code: 'unauthenticated',
      why: 'its certificate is not valid yet',
      fix: 'Compare the clocks of both hosts',
    },
  ],
  [
    /^INVALID_PURPOSE$/,
    {
      code: 'unauthenticated',
      why: 'its certificate is not meant for this side of a connection (extended key usage)',
      fix: 'Servers need one with serverAuth, clients one with clientAuth',
    },
  ],
  [
    /^(CERT_\w+|INVALID_CA|PATH_LENGTH_EXCEEDED|CRL_\w+|HOSTNAME_MISMATCH|\w*KEY_TOO_SMALL|\w*MD_TOO_WEAK)$/,
    { code: 'unauthenticated', why: 'its certificate does not verify' },
  ],
  [
    /PEER_DID_NOT_RETURN_A_CERTIFICATE/,
    {
      code: 'unauthenticated',
      why: 'it presented no client certificate',
      fix: 'Give the client one, or write `verify=0` to let in anybody',
    },
  ],
  [
    /ALERT_CERTIFICATE_REQUIRED/,
    {
      code: 'unauthenticated',
      why: 'it asks for a client certificate and was shown none',
      fix: 'Write `cert=` and `key=`',
    },
  ],
  [
    /ALERT_UNKNOWN_CA/,
    {
      code: 'unauthenticated',
      why: 'it does not trust the authority of the certificate that it was shown',
      fix: 'Show one that it trusts, or make it trust this authority',
    },
  ],
  [/ALERT_CERTIFICATE_EXPIRED/, { code: 'unauthenticated', why: 'it says that our certificate has expired' }],
  [/ALERT_CERTIFICATE_REVOKED/, { code: 'unauthenticated', why: 'it says that our certificate is revoked' }],
  [
    /ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_UNKNOWN|ACCESS_DENIED)/,
    { code: 'unauthenticated', why: 'it refuses the certificate that it was shown' },
  ],
  [
    /ALERT_HANDSHAKE_FAILURE|ALERT_INSUFFICIENT_SECURITY/,
    {
      code: 'refused',
      why: 'it ended the handshake: there is no cipher in common, or it asks for a client certificate',
      fix: 'Compare `cipher=` of both sides; write `cert=` and `key=` if it wants to know its clients',
    },
  ],
  [
    /NO_SHARED_CIPHER|NO_SUITABLE_SIGNATURE_ALGORITHM|NO_CIPHERS_AVAILABLE|NO_SUITABLE_KEY_SHARE|NO_SHARED_GROUP/,
    {
      code: 'refused',
      why: 'there is no cipher in common',
      fix: 'Compare `cipher=` of both sides, and whether the key suits it (RSA or EC)',
    },
  ],
  [
    /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|NO_PROTOCOLS_AVAILABLE|UNSUPPORTED_SSL_VERSION|INAPPROPRIATE_FALLBACK/,
    {
      code: 'refused',
      why: 'there is no TLS version in common',
      fix: 'Compare `openssl-min-proto-version=` and `openssl-max-proto-version=` of both sides',
    },
  ],
  [
    /NO_APPLICATION_PROTOCOL/,
    {
      code: 'refused',
      why: 'there is no application protocol in common',
      fix: 'Compare `alpn=` of both sides',
    },
  ],
  [/UNRECOGNIZED_NAME/, { code: 'refused', why: 'it serves no such name', fix: 'Write `snihost=`' }],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_TOO_SMALL|BAD_RECORD_TYPE|HTTPS?_(PROXY_)?REQUEST|UNKNOWN_PROTOCOL/,
    {
      code: 'refused',
      why: 'it does not speak TLS',
      fix: 'Compare the ports, or use a TCP address for a plain connection',
    },
  ],
  [
    /BAD_RECORD_MAC|DECRYPTION_FAILED|DECRYPT_ERROR/,
    { code: 'reset', why: 'what arrived was altered on its way' },
  ],
]

/** What a TLS error's code says; undefined where it is not one. */
export function tlsCause(code: string): TlsCause | undefined {
  const [, cause] = causes.find(([spelling]) => spelling.test(code)) ?? []
  if (cause) return { ...cause, why: `${cause.why} (${code})` }
  if (!/^ERR_(SSL|TLS)_/.test(code)) return undefined
  return { code: 'reset', why: `TLS failed: ${words(code)}` }
}

/** `ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR`: the words of OpenSSL that Node made the code of. */
function words(code: string): string {
  return code
    .replace(/^ERR_(SSL|TLS)_/, '')
    .replaceAll('_', ' ')
    .toLowerCase()
}
