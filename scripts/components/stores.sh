# Stores that models are fetched from: an OCI registry (CNCF distribution) and an
# S3 server (Versity's gateway). Test tools only, never linked. Sourced by
# components.sh.
# shellcheck shell=bash

stores_dir() { printf '%s/stores/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/stores/go.mod" "$ROOT/tools/stores/go.sum")"; }

verb_stores() {
  command -v go >/dev/null || die "$EXIT_MISSING" "stores: Go is not installed; install the version named in go.work"
  install_once stores "$(stores_dir)" build_stores
}

build_stores() { # DIR
  say "stores: building an OCI registry and an S3 server from source (3 minutes or more, once)"
  (
    cd "$ROOT/tools/stores" &&
      GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$1/bin" go install -trimpath -ldflags "-s -w" tool
  ) && "$1/bin/registry" --version >/dev/null && "$1/bin/versitygw" --version >/dev/null
}
