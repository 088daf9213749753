import { readdir, rm } from 'node:fs/promises'
import type { Tree } from './tree.ts'

/** Removes what an earlier copy has left in the tree and this one has not: `belongs` says what is of this one. */
export async function removeLeftovers(
  tree: Tree,
  belongs: (path: string) => boolean,
  path = '',
): Promise<void> {
  const found = await tree.within(path, ({ entry }) => readdir(entry('.'), { withFileTypes: true }))
  for (const one of found) {
    const at = path === '' ? one.name : `${path}/${one.name}`
    if (!belongs(at)) {
      await tree.within(path, ({ entry }) => rm(entry(one.name), { recursive: true, force: true }))
    } else if (one.isDirectory()) await removeLeftovers(tree, belongs, at)
  }
}
