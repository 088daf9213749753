#!/bin/sh
# Runs a command with the project's own tools, after installing what the lock file names if that has not
# been done yet. So `npm start` and `npm test` each work as the first command after a clone.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
installed=node_modules/.package-lock.json
if [ ! -f "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  echo "fleetcat: installing the packages of package-lock.json (once)" >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  touch "$installed"
fi
PATH="$root/node_modules/.bin:$PATH"
export PATH
exec "$@"
