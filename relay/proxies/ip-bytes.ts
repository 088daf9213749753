import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { canonicalIp } from '../ip.ts'

/** 4 or 16 bytes. The text is an IP. */
export function ipBytes(ip: string): Uint8Array {
  return Uint8Array.from((isIPv4(ip) ? ipaddr.IPv4.parse(ip) : ipaddr.IPv6.parse(ip)).toByteArray())
}

/** In its canonical form: an IPv4 address inside of an IPv6 one is that of IPv4. */
export function ipOfBytes(bytes: Uint8Array): string {
  return canonicalIp(ipaddr.fromByteArray([...bytes]).toString())!
}
