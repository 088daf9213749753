/** Socat's other names for kinds that the table has under one name, beside those that the rows say themselves. */
export const aliases: ReadonlyMap<string, string> = new Map(
  ['', '4', '6'].flatMap(version => [
    [`INET${version}`, `TCP${version}`],
    [`INET${version}-LISTEN`, `TCP${version}-LISTEN`],
    [`INET${version}-L`, `TCP${version}-LISTEN`],
  ]),
)
