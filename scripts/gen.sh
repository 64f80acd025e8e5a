#!/usr/bin/env bash
# Generates everything that is made from proto/, and third_party/ from released
# modules. With --check it changes nothing in the end and fails when what is
# committed differs from what is generated.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${POTERNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poterne}
export PATH="$cache/tools/bin:$PATH"

generated=(proto/gen/inference proto/gen/poterne services/edge/internal/openapi/openapi.json services/edge/internal/openapi/openapi.json.gz third_party)

generate() {
  buf lint
  rm -rf proto/gen/inference proto/gen/poterne
  buf generate
  scripts/openapi.sh
  scripts/third_party.sh
}

check() {
  local before after
  before=$(checksum)
  generate
  after=$(checksum)
  if [[ $before != "$after" ]]; then
    echo "gen: generated code was stale; commit what 'make gen' changes:" >&2
    git status --short -- "${generated[@]}" >&2
    exit 1
  fi
  echo "gen: generated code is fresh"
}

checksum() { find "${generated[@]}" -type f -print0 | sort -z | xargs -0 sha256sum; }

case "${1:-}" in
  "") generate ;;
  --check) check ;;
  *)
    echo "usage: scripts/gen.sh [--check]" >&2
    exit 2
    ;;
esac
