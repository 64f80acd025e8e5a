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

build_tools() { # DIR
  local dir=$1 m
  for m in "${TOOL_MODULES[@]}"; do
    say "tools: building $(cd "$ROOT/tools/$m" && GOWORK=off go list -f '{{.Name}}' tool | wc -l | tr -d ' ') from tools/$m/go.mod (minutes the first time)"
    (cd "$ROOT/tools/$m" && GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOBIN="$dir/bin" go install tool) || return 1
  done
}
