# The chat engine: llama.cpp's server. Sourced by components.sh.
# shellcheck shell=bash

# Builds that the pinned wheel has. It is compiled for a plain x86-64 with AVX2 or
# for armv8-a, so that it runs on any machine of the kind; a build tuned to its
# maker's own processor would die of an illegal instruction elsewhere.
readonly ENGINE_BUILDS=(Linux-x86_64 Linux-aarch64 Darwin-arm64 Darwin-x86_64)

engine_dir() { printf '%s/engine/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/engine.txt")" "$(python_tag)"; }

verb_engine() {
  if ! engine_fits; then
    if engine_on_path >/dev/null; then
      say "engine: no pinned build for this machine; using $(engine_on_path | cut -d= -f2)"
      return 0
    fi
    die "$EXIT_MISSING" "engine: the pinned llama-server has no build for $(uname -s) on $(uname -m); install llama.cpp (llama-server) or Ollama so that it is on the PATH, then run this again"
  fi
  require_python engine
  install_once engine "$(engine_dir)" build_engine
  refresh_launcher llama-server "$(engine_dir)"
  refresh_launcher llama-perplexity "$(engine_dir)"
}

engine_fits() { has_wheel "${ENGINE_BUILDS[@]}" && has_avx2; }

# has_avx2: whether the builds for x86-64 run; true on any other kind of processor.
has_avx2() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) grep -qw avx2 /proc/cpuinfo ;;
    Darwin-x86_64) sysctl -n machdep.cpu.leaf7_features 2>/dev/null | grep -qw AVX2 ;;
    *) true ;;
  esac
}

# engine_on_path: NAME=path of an engine that the machine already has.
engine_on_path() {
  local name
  for name in llama-server ollama; do
    if command -v "$name" >/dev/null; then
      case $name in
        llama-server) printf 'POTERNE_LLAMA_SERVER=%s\n' "$(command -v "$name")" ;;
        ollama) printf 'POTERNE_OLLAMA=%s\n' "$(command -v "$name")" ;;
      esac
      return 0
    fi
  done
  return 1
}

build_engine() { # DIR
  say "engine: fetching llama-server (34 MB)"
  pip_target "$PARTS/engine.txt" "$1/lib" || return 1
  python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import xllamacpp' "$1/lib" ||
    {
      say "engine: it does not start on this machine"
      return 1
    }
}
