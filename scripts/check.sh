#!/bin/sh
# Everything that CI checks, cheapest first. Stops at the first failure.
set -eu
step() { printf '\n== %s\n' "$1" >&2; }

step 'format and lint'
biome ci --colors=off .

step 'types'
tsc --noEmit

step 'proto: lint, breaking changes, generated code fresh'
buf lint
base=$(git rev-parse -q --verify origin/main 2>/dev/null || git rev-parse -q --verify HEAD || true)
if [ -n "$base" ] && git cat-file -e "$base:buf.yaml" 2>/dev/null; then
  buf breaking --against ".git#ref=$base"
fi
rm -rf .cache/fresh
buf generate --output .cache/fresh
diff -r .cache/fresh/proto/gen proto/gen || {
  echo 'fleetcat: proto/gen is not what the .proto files say. Run: npm run proto' >&2
  exit 1
}

step 'tests (the walls are one of them)'
vitest run --reporter=default --reporter=json --outputFile.json=.cache/tests.json
node scripts/test-counts.ts .cache/tests.json
