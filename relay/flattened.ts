/** A path without `.`, `..` and doubled slashes. */
export function flattened(path: string): string {
  const kept: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  return `/${kept.join('/')}`
}

/** `/var/log/../../etc` begins like what a star permits, and is not there. */
export function goesUp(text: string): boolean {
  return /(^|[/\s])\.\.($|[/\s])/.test(text)
}
