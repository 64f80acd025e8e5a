#!/usr/bin/env bash
# Fails when a binary can reach code that the Go vulnerability database knows to
# be vulnerable, in a dependency or in the standard library of the toolchain
# that builds it. Newer reports: raise golang.org/x/vulndb in tools/vuln/go.mod.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/components.sh vuln
current="${POTERNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poterne}/vuln/current"

# One run for all mains: each package is read once.
mains=()
for dir in services/*/cmd/* e2e/cmd/*; do mains+=("github.com/poterne/poterne/$dir"); done
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if "$current/bin/govulncheck" -db "file://$current/db" -C services/allinone "${mains[@]}" >"$out" 2>&1; then
  tail -n 4 "$out"
else
  rc=$?
  grep -v '^      #' "$out" >&2 || true # which of our functions reach it is long
  exit "$rc"
fi
