import { expect, test } from 'vitest'
import { openCeiling } from '#agent/ceiling.ts'
import { rule } from '#agent/rules.ts'
import { bindAddress, bindListen, bindTarget, kindOf } from '#relay/endpoints/index.ts'
import { RelayError } from '#relay/errors.ts'

/** What is wrong with an address: the whole message. */
function refusal(text: string): string {
  try {
    bindAddress(text)
    return ''
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(RelayError)
    return (thrown as RelayError).message
  }
}

const door = 'OPENSSL-LISTEN:8443,cert=c.pem'

for (const [text, said] of [
  ['OPENSSL-LISTEN:8443,verify=0', /a TLS server needs a certificate\. Write `cert=FILE,key=FILE`/],
  [door, /does not say whose to trust\. Write `cafile=FILE`.*`verify=0` to let in anybody/],
  [`${door},verify=0,cafile=ca.pem`, /`cafile` says whom to trust, and `verify=0`/],
  [`${door},verify=0,identity=spiffe://a/b`, /`identity` says whom to trust/],
  [`${door},verify=0,commonname=client`, /`commonname` says whom to trust/],
  ['OPENSSL:host:443,key=k.pem', /`key` has no certificate/],
  ['OPENSSL:host:443,verify=0,cafile=ca.pem', /Keep one of them/],
  ['OPENSSL-LISTEN:8443,cert=auto,key=k.pem', /`cert=auto` has a key of its own/],
  ['OPENSSL-LISTEN:8443,cert=auto,cafile=auto', /`cafile=auto` says nothing/],
  [
    'OPENSSL-LISTEN:8443,cert=c.pem,verify=0,cert-names=web',
    /`cert-names` says what a new certificate is for/,
  ],
  ['OPENSSL-LISTEN:8443,cert=auto,cert-names=*.example.com', /`\*.example.com` is none/],
  ['OPENSSL:host:443,cert=auto,cert-names=web', /`cert-names` is not one of OPENSSL/],
  ['OPENSSL:host:443,cert=c.pem,key=auto', /`key=auto`/],
  ['OPENSSL:host:443,capath=/etc/ssl/certs', /for `cafile=`/],
  ['OPENSSL:host:443,method=TLS1.2', /openssl-min-proto-version=/],
  ['OPENSSL:host:443,compress=auto', /TLS compression betrays/],
  ['OPENSSL:host:443,fips', /whole process/],
  ['OPENSSL:host:443,egd=/dev/egd', /kernel/],
  ['OPENSSL:host:443,pseudo', /keys would be guessed/],
  ['OPENSSL:host:443,openssl-min-proto-version=TLS1.1', /before TLS 1.2 are broken/],
  ['OPENSSL:host:443,min-version=SSL3', /before TLS 1.2 are broken/],
  ['OPENSSL:host:443,max-version=TLS9', /no version of TLS/],
  ['OPENSSL:host:443,min-version=TLS1.3,max-version=TLS1.2', /newer than the newest/],
  ['OPENSSL:host:443,snihost=127.0.0.1', /by name, not by IP/],
  ['OPENSSL:host:443,fingerprint=12:34', /`12:34` is none/],
  ['OPENSSL:host:443,cert=', /it needs a value/],
  [`${door},snihost=x`, /`snihost` is not one of OPENSSL-LISTEN; OPENSSL has it/],
  ['TCP:host:443,cafile=ca.pem', /`cafile` is not one of TCP; OPENSSL, OPENSSL-LISTEN have it/],
  ['OPENSSL:host', /Write `OPENSSL:<host>:<port>`/],
] as const) {
  test(`\`${text}\` is refused with the reason`, () => {
    expect(refusal(text)).toMatch(said)
  })
}

test('what socat users write is understood', () => {
  const pin = 'C2:5B'.padEnd(95, ':00')
  for (const text of [
    'SSL-L:8443,reuseaddr,fork,certificate=/etc/ssl/web.pem,verify=0',
    'openssl-listen:4433,reuseaddr,pf=ip4,fork,cert=server.pem,cafile=client.crt',
    'ssl-listen:443,openssl-certificate=a,openssl-key=b,openssl-cafile=c,openssl-verify=1,cipher=HIGH:!aNULL',
    `OPENSSL-LISTEN:443,cert=a,verify=0,fingerprint=${pin};${pin.toLowerCase()}`,
    'OPENSSL-LISTEN:443,cert=a,cafile=b,cn=client.test,dhparams=dh.pem,range=10.0.0.0/8,max-children=3',
  ]) {
    expect(bindListen(text).scope.keyword).toBe('OPENSSL-LISTEN')
  }
  for (const text of [
    'ssl:www.example.com:443',
    'OPENSSL-CONNECT:10.0.0.1:443,cn=www.example.com,nosni,keepalive,connect-timeout=5',
    'OPENSSL:www.example.com:https,no-sni=0,snihost=mock.example.com,min-version=TLS1.2,alpn=h2;http/1.1',
    'OPENSSL:host:443,verify=0,commonname=other.test,retry=3,interval=1,bind=127.0.0.1',
  ]) {
    expect(bindTarget(text).scope.keyword).toBe('OPENSSL')
  }
})

test('a ceiling permits it on loopback and outward, and each of its files by itself', () => {
  const listener = bindListen(
    'OPENSSL-LISTEN:8443,bind=127.0.0.1,cert=/etc/ssl/web.pem,key=/etc/ssl/web.key,verify=0',
  )
  const client = bindTarget('OPENSSL:api.test:443,cafile=/etc/ssl/ca.pem')
  const plain = bindTarget('OPENSSL:api.test:443')
  const builtIn = openCeiling({ permit: [], forbid: [] })
  builtIn.checkTarget(plain)
  expect(() => builtIn.checkListen(listener)).toThrowError(
    /add "OPEN:\/etc\/ssl\/web.pem,rdonly" under permit:/,
  )
  expect(() => builtIn.checkTarget(client)).toThrowError(/add "OPEN:\/etc\/ssl\/ca.pem,rdonly" under permit:/)
  expect(() => builtIn.checkListen(bindListen('SSL-L:8443,cert=/etc/ssl/web.pem,verify=0'))).toThrowError(
    /add "OPENSSL-LISTEN:0.0.0.0:8443" under permit:.*, or listen with bind=127.0.0.1/,
  )
  const generous = openCeiling({ permit: [rule('OPEN:/etc/ssl/*,rdonly', 'agent.yaml:1')], forbid: [] })
  generous.checkListen(listener)
  generous.checkTarget(client)
  const strict = openCeiling({
    permit: [rule('OPEN:/etc/ssl/*', 'agent.yaml:1')],
    forbid: [rule('OPEN:/etc/ssl/web.key', 'agent.yaml:2')],
  })
  expect(() => strict.checkListen(listener)).toThrowError(/forbids OPEN:\/etc\/ssl\/web.key \(agent.yaml:2\)/)
})

test('the table knows both by all their names', () => {
  for (const name of ['SSL', 'OPENSSL-CONNECT', 'SSL-CONNECT']) expect(kindOf(name)?.keyword).toBe('OPENSSL')
  for (const name of ['SSL-L', 'SSL-LISTEN', 'OPENSSL-L'])
    expect(kindOf(name)?.keyword).toBe('OPENSSL-LISTEN')
})
