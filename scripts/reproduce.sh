#!/usr/bin/env bash
# Builds the committed tree twice, in two places and with a build cache each, and
# compares the binaries, byte for byte.
#
#   scripts/reproduce.sh [BINARY...]    e.g. scripts/reproduce.sh poterne-edge; without: all
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

for place in one another/and-deeper; do
  mkdir -p "$work/$place"
  git clone -q "$root" "$work/$place/poterne"
  targets=(build)
  if [[ $# -gt 0 ]]; then targets=("${@/#/bin/}"); fi
  GOCACHE="$work/$place/cache" make -s -C "$work/$place/poterne" "${targets[@]}" VERSION=reproduced >&2
  (cd "$work/$place/poterne/bin" && sha256sum -- *) >"$work/${place%%/*}.sums"
done
if ! diff "$work/one.sums" "$work/another.sums"; then
  echo "reproduce: the two builds differ" >&2
  exit 1
fi
cat "$work/one.sums"
echo "reproduce: $(wc -l <"$work/one.sums") binaries, twice the same"
