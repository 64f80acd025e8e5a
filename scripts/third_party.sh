#!/usr/bin/env bash
# Makes the changed copies of modules in third_party/ from the released modules,
# which are checked by hash, and the patches beside them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# member NAME prints a text of go's answer.
member() { sed -n "s/^\t\"$1\": \"\(.*\)\",\?\$/\1/p"; }

# copy NAME MODULE@VERSION H1 [PACKAGE...]: the module's first package, and these.
copy() {
  local name=$1 module=$2 sum=$3 answer dir package
  answer=$(cd /tmp && GOWORK=off go mod download -json "$module")
  if [[ $(member Sum <<<"$answer") != "$sum" ]]; then
    echo "third_party: $module is not what it was: want $sum" >&2
    exit 1
  fi
  dir=$(member Dir <<<"$answer")
  rm -rf "third_party/$name"
  for package in . "${@:4}"; do
    mkdir -p "third_party/$name/$package"
    find "$dir/$package" -maxdepth 1 \( -name '*.go' -o -name LICENSE \) ! -name '*_test.go' \
      -exec install -m 644 -t "third_party/$name/$package" {} +
  done
  printf 'module %s\n\ngo 1.26.0\n' "${module%@*}" >"third_party/$name/go.mod"
  # What it needs, less what only its tests do.
  if [[ -f third_party/patches/$name.mod ]]; then
    cat "third_party/patches/$name.mod" >>"third_party/$name/go.mod"
  fi
  patch --quiet --no-backup-if-mismatch -d "third_party/$name" -p1 <"third_party/patches/$name.patch"
}

copy govaluate github.com/casbin/govaluate@v1.10.0 h1:ffGw51/hYH3w3rZcxO/KcaUIDOLP84w7nsidMVgaDG0=
copy mustache github.com/cbroglie/mustache@v1.4.2 h1:yHvAjVmSyYwCmEIYq7kBaZ4A+Q3kSYjJheLdB2H2r9U=
copy protovalidate buf.build/go/protovalidate@v1.4.0 h1:UjLrYbt5VX7+TMOs2+pG5FhZhIG1mSfK4EIopbb4LcM= cel internal/rules
