#!/usr/bin/env bash
# Lints everything: Go in every module of the workspace (or only those named),
# the contracts, and the shell scripts. All parts run before it fails.
#
#   scripts/lint.sh [--fix] [MODULE...]    e.g. scripts/lint.sh pkg services/edge
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="${POTERNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poterne}/tools/bin:$PATH"

fix=()
modules=()
failed=0

arguments() {
  local a
  for a in "$@"; do
    case $a in
      --fix) fix=(--fix) ;;
      -*)
        echo "usage: scripts/lint.sh [--fix] [MODULE...]" >&2
        exit 2
        ;;
      *)
        [[ -f $a/go.mod ]] || {
          echo "lint: no module in $a" >&2
          exit 2
        }
        modules+=("${a%/}")
        ;;
    esac
  done
}

# The modules that go.work names, less generated code.
workspace_modules() { go work edit -json | sed -n 's/.*"DiskPath": "\.\/\(.*\)".*/\1/p' | grep -v '^proto/gen$'; }

# One run for all modules: each package is read and checked for types once.
lint_go() {
  local m with=()
  for m in "$@"; do
    # A module that has no package yet has nothing to lint.
    [[ -z $(git ls-files --cached --others --exclude-standard -- "$m/*.go" | head -n 1) ]] || with+=("./$m/...")
  done
  [[ ${#with[@]} -eq 0 ]] && return 0
  golangci-lint run ${fix[@]+"${fix[@]}"} "${with[@]}"
}

lint_proto() {
  local rc=0
  buf lint || rc=1
  buf format --diff --exit-code --path proto/inference --path proto/poterne || rc=1
  return "$rc"
}

lint_shell() {
  local f rc=0
  while IFS= read -r f; do
    bash -n "$f" || rc=1
  done < <(git ls-files 'scripts/*.sh' 'scripts/**/*.sh' '.ci/*')
  if command -v shellcheck >/dev/null; then
    git ls-files -z 'scripts/*.sh' 'scripts/**/*.sh' | xargs -0 shellcheck --external-sources --severity=warning || rc=1
  fi
  return "$rc"
}

step() { # NAME COMMAND...
  echo "lint: $1"
  shift
  "$@" || failed=1
}

main() {
  arguments "$@"
  if [[ ${#modules[@]} -gt 0 ]]; then
    step "go (${modules[*]})" lint_go "${modules[@]}"
  else
    local all m
    all=()
    while IFS= read -r m; do all+=("$m"); done < <(workspace_modules)
    step "go (${#all[@]} modules)" lint_go "${all[@]}"
    step proto lint_proto
    step shell lint_shell
    step vulnerabilities scripts/vuln.sh
  fi
  [[ $failed -eq 0 ]] || {
    echo "lint: failed" >&2
    exit 1
  }
  echo "lint: clean"
}

main "$@"
