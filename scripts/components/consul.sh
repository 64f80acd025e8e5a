# The Consul agent: a test tool only, never linked. Sourced by components.sh.
# shellcheck shell=bash

consul_dir() { printf '%s/consul/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/consul/go.mod" "$ROOT/tools/consul/go.sum")"; }

verb_consul() {
  command -v go >/dev/null || die "$EXIT_MISSING" "consul: Go is not installed; install the version named in go.work"
  install_once consul "$(consul_dir)" build_consul
}

# The public checksum database does not know this module's releases; go.sum in
# tools/consul pins them instead, and -mod=readonly lets nothing else in.
build_consul() { # DIR
  say "consul: building $CONSUL_MODULE from source (4 minutes or more, once)"
  (
    cd "$ROOT/tools/consul" &&
      GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" \
        GONOSUMDB="$CONSUL_MODULE,$CONSUL_MODULE/*" \
        go build -trimpath -ldflags "-s -w" -o "$1/bin/consul" "$CONSUL_MODULE"
  ) && "$1/bin/consul" version >/dev/null
}
