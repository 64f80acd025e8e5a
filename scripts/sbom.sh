#!/usr/bin/env bash
# Writes a bill of materials for each binary in bin/, as CycloneDX JSON beside it
# (bin/NAME.cdx.json), from what the linker recorded in it, and fails for a
# licence that dependencies may not have. The same binary gives the same file.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/components.sh sbom
tools="${POTERNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poterne}/sbom/bin"
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}

allowed='Apache-2.0|MIT|BSD-2-Clause|BSD-3-Clause|BSD-Source-Code|ISC|MPL-2.0|0BSD|CC0-1.0|Unlicense'
# Their licence is there (MIT, MIT), in a form that is not recognised.
known='github.com/pressly/goose/v3|github.com/poterne/poterne/.*|std'

failed=0
for binary in bin/*; do
  [[ -x $binary && $binary != *.json ]] || continue
  out="$binary.cdx.json"
  "$tools/cyclonedx-gomod" bin -json -licenses -std -noserial -notimestamp -version "$version" -output "$out" "$binary" 2>/dev/null
  bad=$("$tools/sbom" "$allowed" "$known" <"$out") || {
    printf 'sbom: %s: %s\n' "$binary" "$bad" >&2
    failed=1
  }
  printf 'sbom: %s\n' "$out"
done
exit "$failed"
