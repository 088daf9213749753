/** A port as written: a number, or the name of a well-known service as in socat's examples. Undefined if neither. */
export function readPort(text: string): number | undefined {
  if (/^\d{1,5}$/.test(text)) {
    const port = Number(text)
    return port <= 65_535 ? port : undefined
  }
  return services[text.toLowerCase()]
}

/**
 * A list of our own, so that the controller and every host read a name alike, whatever their /etc/services says.
 */
const services: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  echo: 7,
  discard: 9,
  daytime: 13,
  chargen: 19,
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  time: 37,
  domain: 53,
  http: 80,
  www: 80,
  kerberos: 88,
  pop3: 110,
  sunrpc: 111,
  ntp: 123,
  imap: 143,
  imap2: 143,
  snmp: 161,
  bgp: 179,
  ldap: 389,
  https: 443,
  submissions: 465,
  syslog: 514,
  submission: 587,
  ldaps: 636,
  domains: 853,
  imaps: 993,
  pop3s: 995,
  socks: 1080,
  openvpn: 1194,
  mqtt: 1883,
  nfs: 2049,
  mysql: 3306,
  rdp: 3389,
  sip: 5060,
  postgresql: 5432,
  postgres: 5432,
  amqp: 5672,
  x11: 6000,
  redis: 6379,
})
