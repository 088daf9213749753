#!/usr/bin/env bash
# Fetches the source of Debian's python3-serial, whose tests are in no package, and says where it lies: what the tests take
# from FLEETCAT_PYSERIAL_SOURCE. From where this machine has its packages, with lists of its own. Nothing of it becomes
# part of this repository.
set -euo pipefail
work=$(cd "$(dirname "$0")/.." && pwd -P)/.cache/pyserial
if [ ! -d "$work/source" ]; then
  rm -rf "$work"
  mkdir -p "$work/fetch" "$work/lists/partial" "$work/archives/partial" "$work/sources.list.d"
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$list" ] && sed -n 's/^deb /deb-src /p' "$list" >"$work/sources.list.d/$(basename "$list" .list).list"
  done
  for list in /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/sources.list.d/$(basename "$list")"
  done
  apt=(-o Dir::Etc::sourcelist=- -o "Dir::Etc::sourceparts=$work/sources.list.d" -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work" -o APT::Sandbox::User=)
  apt-get "${apt[@]}" update -q >&2
  (cd "$work/fetch" && apt-get "${apt[@]}" source -q --download-only --tar-only pyserial >&2)
  mkdir "$work/unpacked"
  tar xzf "$work"/fetch/pyserial_*.orig.tar.gz -C "$work/unpacked" --strip-components=1
  rm -r "$work/lists"
  mv "$work/unpacked" "$work/source"
fi
echo "$work/source"
