#!/usr/bin/env bash
# Makes services/edge/internal/openapi/openapi.json, which the edge serves, from
# the contract: protoc-gen-connect-openapi reads the REST bindings, comments and
# validation rules, and internal/openapi/build puts in what it does not know.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${POTERNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poterne}
export PATH="$cache/tools/bin:$PATH"

document=services/edge/internal/openapi/openapi.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/buf.gen.yaml" <<TEMPLATE
version: v2
inputs:
  - directory: .
    paths: [proto/poterne/edge, proto/poterne/search, proto/poterne/registry]
plugins:
  - local: protoc-gen-connect-openapi
    out: $work
    strategy: all
    opt:
      - features=google.api.http;protovalidate
      - path=openapi.json
      - format=json
      - with-proto-names
      - fully-qualified-message-names
      - only-googleapi-http
      - disable-default-response
TEMPLATE
buf generate --template "$work/buf.gen.yaml"
(cd services/edge && go run ./internal/openapi/build) <"$work/openapi.json" >"$work/final.json"
mv "$work/final.json" "$document"
(cd services/edge && go run ./internal/openapi/build pack) <"$document" >"$work/final.gz"
mv "$work/final.gz" "$document.gz"
