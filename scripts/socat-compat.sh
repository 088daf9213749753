#!/usr/bin/env bash
# Holds `fleetcat socat` against socat's own regression script, test.sh of Debian's source package, and writes
# docs/compatibility.md: which of the tests that the real socat passes on this machine we pass too. Needs root, for the
# tests run in network and process namespaces of their own, and Debian's socat, iproute2 and iputils-ping.
# Takes about half an hour. Nothing of socat's source becomes part of this repository.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
work=${FLEETCAT_COMPAT_DIR:-/tmp/fleetcat-compat}
pieces=${FLEETCAT_COMPAT_PIECES:-4}
# Waits of the script are this long: a process of ours starts in a tenth of a second, and one of socat's in a hundredth.
patience=${FLEETCAT_COMPAT_PATIENCE:-0.5}

fetch() {
  [ -f "$work/source/test.sh" ] && return
  mkdir -p "$work/fetch/lists/partial"
  cd "$work/fetch"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" >sources.list
  local apt=(-o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/lists")
  apt-get "${apt[@]}" update -q
  apt-get "${apt[@]}" source --download-only socat=1.7.4.4-2
  tar xzf socat_1.7.4.4.orig.tar.gz
  mv socat-1.7.4.4 "$work/source"
}

# Kills the relays of this namespace when no test has ended for 45 seconds: one that hangs would hold up all others.
watchdog() {
  local log=$1 last='' same=0 size command
  while sleep 5; do
    size=$(grep -ac '^test' "$log" || true)
    [ "$size" = "$last" ] && same=$((same + 1)) || same=0
    last=$size
    [ $same -lt 9 ] && continue
    same=0
    for process in /proc/[0-9]*; do
      command=$(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) || continue
      case $command in *'main.ts socat'* | */socat* | socat*) kill -9 "${process#/proc/}" || true ;; esac
    done
  done
}

# Runs within namespaces: a network with one more address of each kind, and processes that end with it.
inside() {
  local directory=$1
  shift
  ip link set lo up
  ip link add eth0 type veth peer name eth1
  for link in eth0 eth1; do ip link set "$link" addrgenmode none; done
  for link in eth1 eth0; do ip link set "$link" up; done
  ip addr add 10.77.0.2/24 brd + dev eth0
  ip -6 addr add fd77::2/64 dev eth0 nodad
  ip route add default via 10.77.0.1
  cd "$directory"
  export TMPDIR=$directory/tmp USER=root TERM=dumb FILAN=/usr/bin/filan PROCAN=/usr/bin/procan
  : >log
  watchdog "$directory/log" >/dev/null 2>&1 &
  script -qec "bash ./test.sh $*" /dev/null </dev/null >>log 2>&1 || true
}

# usage: piece LABEL PROGRAM PATIENCE TESTS
piece() {
  local directory=$work/$1 program=$2 wait=$3
  shift 3
  rm -rf "$directory"
  cp -r "$work/source" "$directory"
  mkdir "$directory/tmp"
  SOCAT=$program unshare -n -m -p --fork --mount-proc "$root/scripts/socat-compat.sh" inside "$directory" -t "$wait" "$@"
}

# usage: all LABEL PROGRAM PATIENCE. Runs all tests, in as many pieces at a time as were asked for.
all() {
  local number
  for number in $(seq "$pieces"); do
    piece "$1-$number" "$2" "$3" $(seq $((1 + (number - 1) * 465 / pieces)) $((number * 465 / pieces))) &
  done
  wait
}

if [ "${1:-}" = inside ]; then
  shift
  inside "$@"
  exit
fi
mkdir -p "$work"
fetch
printf '#!/bin/sh\nexec %s/fleetcat socat "$@"\n' "$root" >"$work/fleetcat-socat"
chmod +x "$work/fleetcat-socat"
all socat "$(command -v socat)" 0.1
all fleetcat "$work/fleetcat-socat" "$patience"
# Some tests race against the clock, and lose it where four pieces share a small machine: once more, alone.
page=("$root/node_modules/.bin/node" "$root/scripts/socat-compat.ts" "$work")
piece fleetcat-again "$work/fleetcat-socat" "$patience" $("${page[@]}" --failed)
"${page[@]}" >"$root/docs/compatibility.md"
