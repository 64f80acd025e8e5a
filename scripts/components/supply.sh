# What looks at dependencies: govulncheck with a pinned copy of the Go
# vulnerability database, and the writer of bills of materials. Sourced by
# components.sh.
# shellcheck shell=bash

vuln_dir() { printf '%s/vuln/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/vuln/go.mod" "$ROOT/tools/vuln/go.sum" "$ROOT/tools/vuln/main.go" <(go env GOVERSION GOOS GOARCH))"; }

verb_vuln() {
  command -v go >/dev/null || die "$EXIT_MISSING" "vuln: Go is not installed; install the version named in go.work"
  install_once vuln "$(vuln_dir)" build_vuln
  point "$(cache_dir)/vuln/current" "$(basename "$(vuln_dir)")"
}

# The database's reports are files of a Go module, which go.sum pins.
build_vuln() { # DIR
  local reports
  say "vuln: building govulncheck and its database from tools/vuln/go.mod"
  (
    cd "$ROOT/tools/vuln"
    export GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false"
    GOBIN="$1/bin" go install tool
    go mod download golang.org/x/vulndb
    reports=$(go list -m -f '{{.Dir}}' golang.org/x/vulndb)/data/osv
    go run . "$reports" "$1/db"
  )
}

sbom_dir() { printf '%s/sbom/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/sbom/go.mod" "$ROOT/tools/sbom/go.sum" "$ROOT/tools/sbom/main.go" <(go env GOVERSION GOOS GOARCH))"; }

verb_sbom() {
  command -v go >/dev/null || die "$EXIT_MISSING" "sbom: Go is not installed; install the version named in go.work"
  install_once sbom "$(sbom_dir)" build_sbom
  point "$(cache_dir)/sbom/bin" "$(basename "$(sbom_dir)")/bin"
}

build_sbom() { # DIR
  say "sbom: building cyclonedx-gomod, and the check of licences"
  (cd "$ROOT/tools/sbom" && GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$1/bin" go install tool .)
}

# gitleaks finds our keys in a repository: what docs/api-keys.md tells scanners is
# tested with it. A program of its own, never linked.
gitleaks_dir() { printf '%s/gitleaks/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/gitleaks/go.mod" "$ROOT/tools/gitleaks/go.sum")"; }

verb_gitleaks() {
  command -v go >/dev/null || die "$EXIT_MISSING" "gitleaks: Go is not installed; install the version named in go.work"
  install_once gitleaks "$(gitleaks_dir)" build_gitleaks
}

build_gitleaks() { # DIR
  say "gitleaks: building a scanner for secrets from source (a minute or more, once)"
  (
    cd "$ROOT/tools/gitleaks" &&
      GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$1/bin" go install -trimpath -ldflags "-s -w" tool
  ) && "$1/bin/gitleaks" version >/dev/null
}
