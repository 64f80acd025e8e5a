# What TLS is tested with: an ACME server (Pebble, with its DNS server) and
# testssl.sh, which is run as a program of its own. Sourced by components.sh.
# shellcheck shell=bash

pebble_dir() { printf '%s/pebble/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/pebble/go.mod" "$ROOT/tools/pebble/go.sum")"; }

verb_pebble() {
  command -v go >/dev/null || die "$EXIT_MISSING" "pebble: Go is not installed; install the version named in go.work"
  install_once pebble "$(pebble_dir)" build_pebble
}

build_pebble() { # DIR
  say "pebble: building an ACME server from source (once)"
  (
    cd "$ROOT/tools/pebble" &&
      GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$1/bin" go install -trimpath -ldflags "-s -w" tool
  ) && [[ -x $1/bin/pebble && -x $1/bin/pebble-challtestsrv ]]
}

# testssl_bin: Debian's package calls it testssl, its own releases testssl.sh.
testssl_bin() { command -v testssl || command -v testssl.sh; }

verb_testssl() {
  testssl_bin >/dev/null && return 0
  if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    die "$EXIT_MISSING" "testssl: install testssl.sh (Debian and Ubuntu: apt-get install testssl.sh; macOS: brew install testssl)"
  fi
  with_lock testssl install_testssl
}

install_testssl() {
  testssl_bin >/dev/null && return 0
  say "testssl: installing testssl.sh from the system's packages"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends testssl.sh >&2
}
