#!/usr/bin/env bash
# Gets the real parts that Poterne runs on and is tested against, each pinned by
# version and SHA-256, into ${POTERNE_CACHE:-$XDG_CACHE_HOME/poterne}.
#
#   scripts/components.sh VERB...    see usage below
#   eval "$(scripts/components.sh env)"
#
# Safe to run twice and from two places at once; when all is there it says so in
# one line. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a part cannot be had
# on this machine (the message says what to install).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PARTS="$ROOT/scripts/components"

# shellcheck source=/dev/null
for part in pins lib.sh python.sh node.sh engine.sh quantizer.sh models.sh consul.sh stores.sh servers.sh elasticsearch.sh tls.sh tools.sh supply.sh env.sh; do
  source "$PARTS/$part"
done

usage() {
  cat <<'TEXT'
Usage: scripts/components.sh VERB...

  engine          llama-server: runs GGUF models, OpenAI's HTTP API; llama-perplexity
  quantizer       llama-quantize: makes smaller variants of GGUF models
  models          the chat model, and the embedding model with its server
  consul          the Consul agent, built from source once (minutes); tests only
  stores          an OCI registry and an S3 server, built from source once (minutes); tests only
  servers         redis-server, PostgreSQL, NGINX, memcached, from the system's packages
  compose         docker-compose, to check docker-compose.yml
  elasticsearch   a bare Elasticsearch node; tests only
  python-sdk      the official OpenAI Python package; tests only
  mlserver        MLServer with scikit-learn: serves tensors; tests only
  inference-clients  tritonclient and kserve; tests only
  mlflow          MLflow: a tracking server and its client; tests only
  pebble          an ACME server, built from source once; tests only
  testssl         testssl.sh, from the system's packages; tests only
  oidc-provider   oidc-provider and openid-client: an OpenID provider and a client on Node.js; tests only
  node-sdk        the official OpenAI, Anthropic and Model Context Protocol packages for Node.js; tests only
  gitleaks        gitleaks, a scanner for secrets, built from source once; tests only
  peers           LiteLLM and Portkey, beside which `make bench-peers` measures
  tools           buf, golangci-lint, the protoc plugins and other developer tools
  grpcurl         grpcurl alone, to call gRPC by hand
  vuln            govulncheck, and the Go vulnerability database as pinned
  sbom            cyclonedx-gomod, which writes bills of materials
  run             engine, quantizer and models: what `make up` needs
  mesh            run, consul and servers: what `make mesh` needs
  real            mesh, stores, elasticsearch, python-sdk, mlserver, inference-clients, mlflow,
                  pebble, testssl, oidc-provider, node-sdk and gitleaks: what `make test-real` needs
  env             print the paths as `export NAME=path` lines; fetches nothing
TEXT
}

run_verb() {
  case $1 in
    engine | quantizer | models | consul | stores | servers | compose | elasticsearch | mlserver | mlflow | pebble | testssl | gitleaks | tools | grpcurl | vuln | sbom | env) "verb_$1" ;;
    python-sdk) verb_python_sdk ;;
    inference-clients) verb_inference_clients ;;
    oidc-provider) verb_oidc_provider ;;
    node-sdk) verb_node_sdk ;;
    peers)
      verb_litellm
      verb_portkey
      ;;
    run)
      verb_engine
      optional_quantizer
      verb_models
      ;;
    mesh)
      verb_engine
      optional_quantizer
      verb_models
      verb_servers
      verb_consul
      ;;
    real)
      run_verb mesh
      verb_stores
      verb_elasticsearch
      verb_python_sdk
      verb_mlserver
      verb_inference_clients
      verb_mlflow
      verb_pebble
      verb_testssl
      verb_oidc_provider
      verb_node_sdk
      verb_gitleaks
      ;;
    help | -h | --help) usage ;;
    *)
      usage >&2
      die 2 "unknown verb: $1"
      ;;
  esac
}

# optional_quantizer: nothing is served by it, so nothing waits for it that can go on.
optional_quantizer() { (verb_quantizer) || say "quantizer: going on without it"; }

# note_parts leaves NAME=path lines in the cache, so that `poterne up` finds its
# parts also when nobody has evaluated `env`.
note_parts() {
  local tmp name
  tmp=$(mktemp "$(cache_dir)/parts.XXXXXX")
  (
    eval "$(verb_env)"
    while read -r name; do printf '%s=%s\n' "$name" "${!name}"; done < <(verb_env | sed -n 's/^export \([A-Z0-9_]*\)=.*/\1/p')
  ) >"$tmp"
  mv -f "$tmp" "$(cache_dir)/parts.env"
}

main() {
  if [[ $# -eq 0 ]]; then
    usage >&2
    exit 2
  fi
  local verb
  for verb in "$@"; do run_verb "$verb"; done
  case "$*" in
    env | help | -h | --help) ;;
    *)
      note_parts
      say "all there: $*"
      ;;
  esac
}

main "$@"
