/** Of where a connection comes from, without the port: `[::1]:4000` and `10.0.0.7:4000`. */
export function sourceIp(source: string): string {
  return source.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
}
