# Developer tools, built from the modules under tools/. Sourced by components.sh.
# shellcheck shell=bash

# One module per group, so that golangci-lint's or buf's dependencies never
# decide which version of protoc-gen-go is built.
readonly TOOL_MODULES=(. buf golangci)

tools_dir() { printf '%s/tools/%s' "$(cache_dir)" "$(tools_key)"; }

tools_key() {
  local m files=()
  for m in "${TOOL_MODULES[@]}"; do files+=("$ROOT/tools/$m/go.mod" "$ROOT/tools/$m/go.sum"); done
  key_of "${files[@]}" <(go env GOVERSION GOOS GOARCH)
}

verb_tools() {
  command -v go >/dev/null || die "$EXIT_MISSING" "tools: Go is not installed; install the version named in go.work"
  install_once tools "$(tools_dir)" build_tools
  point "$(cache_dir)/tools/bin" "$(basename "$(tools_dir)")/bin"
}

# Built beside their place, so that a run that is cut off keeps what it has built.
build_tools() { # DIR
  local dir=$1 m partial
  partial="$(tools_dir).partial"
  for m in "${TOOL_MODULES[@]}"; do
    say "tools: building $(cd "$ROOT/tools/$m" && GOWORK=off go list -f '{{.Name}}' tool | wc -l | tr -d ' ') from tools/$m/go.mod (minutes the first time)"
    (cd "$ROOT/tools/$m" && GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$partial" go install tool) || return 1
  done
  mv "$partial" "$dir/bin"
}

grpcurl_dir() { printf '%s/grpcurl/%s' "$(cache_dir)" "$(key_of "$ROOT/tools/go.mod" "$ROOT/tools/go.sum" <(go env GOVERSION GOOS GOARCH))"; }

# verb_grpcurl: the one of them that users want, without the others.
verb_grpcurl() {
  command -v go >/dev/null || die "$EXIT_MISSING" "grpcurl: Go is not installed; install the version named in go.work"
  install_once grpcurl "$(grpcurl_dir)" build_grpcurl
  point "$(cache_dir)/grpcurl/bin" "$(basename "$(grpcurl_dir)")/bin"
}

build_grpcurl() { # DIR
  say "grpcurl: building it"
  (cd "$ROOT/tools" && GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$1/bin" go install github.com/fullstorydev/grpcurl/cmd/grpcurl)
}
