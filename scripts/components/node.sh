# Packages of Node.js, checked by npm against the sums in a package-lock.json beside
# this file; their install scripts never run. Sourced by components.sh.
# shellcheck shell=bash

readonly NODE_NEEDS="Node.js 20 or later with npm (nodejs, npm)"

require_node() { # WHAT-FOR
  command -v node >/dev/null && command -v npm >/dev/null || die "$EXIT_MISSING" "$1: Node.js is not installed; install $NODE_NEEDS"
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
    die "$EXIT_MISSING" "$1: Node.js $(node --version) is too old; install $NODE_NEEDS"
}

oidc_provider_dir() {
  local from="$PARTS/oidc-provider"
  printf '%s/oidc-provider/%s' "$(cache_dir)" "$(key_of "$from/package.json" "$from/package-lock.json" "$from/provider.mjs" "$from/client.mjs")"
}

verb_oidc_provider() {
  require_node oidc-provider
  install_once oidc-provider "$(oidc_provider_dir)" build_oidc_provider
}

build_oidc_provider() { # DIR
  say "oidc-provider: fetching the OpenID provider, a client, and what they need (5 MB)"
  cp "$PARTS/oidc-provider/"{package.json,package-lock.json,provider.mjs,client.mjs} "$1/"
  (cd "$1" && npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error >&2)
}

node_sdk_dir() {
  local from="$PARTS/node-sdk"
  printf '%s/node-sdk/%s' "$(cache_dir)" "$(key_of "$from/package.json" "$from/package-lock.json")"
}

verb_node_sdk() {
  require_node node-sdk
  install_once node-sdk "$(node_sdk_dir)" build_node_sdk
}

build_node_sdk() { # DIR
  say "node-sdk: fetching OpenAI's, Anthropic's and the Model Context Protocol's packages (91 MB unpacked)"
  cp "$PARTS/node-sdk/"{package.json,package-lock.json} "$1/"
  (cd "$1" && npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error >&2)
}

portkey_dir() {
  local from="$PARTS/portkey"
  printf '%s/portkey/%s' "$(cache_dir)" "$(key_of "$from/package.json" "$from/package-lock.json")"
}

verb_portkey() {
  require_node portkey
  install_once portkey "$(portkey_dir)" build_portkey
}

build_portkey() { # DIR
  say "portkey: fetching Portkey's gateway and what it needs (25 MB)"
  cp "$PARTS/portkey/"{package.json,package-lock.json} "$1/"
  (cd "$1" && npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error >&2)
}
