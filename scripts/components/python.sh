# Python packages, checked by pip against the sums in *.txt beside this file.
# Sourced by components.sh.
# shellcheck shell=bash

readonly PYTHON_NEEDS="Python 3.10 or later with pip (python3, python3-pip)"

require_python() { # WHAT-FOR
  command -v python3 >/dev/null || die "$EXIT_MISSING" "$1: Python is not installed; install $PYTHON_NEEDS"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$EXIT_MISSING" "$1: $(python3 --version) is too old; install $PYTHON_NEEDS"
}

# python_tag: wheels with compiled parts fit one version of Python only.
python_tag() {
  python3 -c 'import sys, os; u = os.uname(); print("py%d%d-%s-%s" % (*sys.version_info[:2], u.sysname.lower(), u.machine))'
}

# pip_target REQUIREMENTS DIR [PIP OPTION...]: installs exactly what the file names, wheels only.
pip_target() {
  local file=$1 dir=$2
  shift 2
  local quiet=(--quiet)
  if ! python3 -m pip --version >/dev/null 2>&1; then
    say "pip is not installed; install $PYTHON_NEEDS"
    return 1
  fi
  [[ -t 2 ]] && quiet=(--progress-bar on)
  python3 -m pip --disable-pip-version-check install "${quiet[@]}" --no-input --no-deps --require-hashes \
    --only-binary :all: --no-compile --no-cache-dir --root-user-action ignore --target "$dir" -r "$file" "$@" >&2
}

# refresh_launcher NAME DIR: our own start script beside the package that it starts.
# It changes without the package being fetched again.
refresh_launcher() {
  local to="$2/bin/$1"
  cmp -s "$PARTS/launch/$1" "$to" && return 0
  mkdir -p "$2/bin"
  install -m 755 "$PARTS/launch/$1" "$to.$$"
  mv -f "$to.$$" "$to"
}

# has_wheel OS-ARCH...: whether one of the builds that a package has fits this machine.
has_wheel() {
  local want
  want="$(uname -s)-$(uname -m)"
  [[ " $* " == *" $want "* ]]
}

python_sdk_dir() { printf '%s/python-sdk/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/python-sdk.txt")" "$(python_tag)"; }

verb_python_sdk() {
  require_python python-sdk
  install_once python-sdk "$(python_sdk_dir)" build_python_sdk
  refresh_launcher python "$(python_sdk_dir)"
}

build_python_sdk() { # DIR
  say "python-sdk: fetching the packages of OpenAI and Anthropic, and what they need (12 MB)"
  pip_target "$PARTS/python-sdk.txt" "$1/lib"
}

mlserver_dir() { printf '%s/mlserver/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/mlserver.txt")" "$(python_tag)"; }

verb_mlserver() {
  require_python mlserver
  install_once mlserver "$(mlserver_dir)" build_mlserver
  refresh_launcher python "$(mlserver_dir)"
  refresh_launcher mlserver "$(mlserver_dir)"
  refresh_launcher train-sklearn "$(mlserver_dir)"
}

build_mlserver() { # DIR
  say "mlserver: fetching MLServer with scikit-learn and what they need (150 MB)"
  pip_target "$PARTS/mlserver.txt" "$1/lib"
}

inference_clients_dir() { printf '%s/inference-clients/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/inference-clients.txt")" "$(python_tag)"; }

verb_inference_clients() {
  require_python inference-clients
  install_once inference-clients "$(inference_clients_dir)" build_inference_clients
  refresh_launcher python "$(inference_clients_dir)"
}

build_inference_clients() { # DIR
  say "inference-clients: fetching tritonclient, kserve and what they need (120 MB)"
  pip_target "$PARTS/inference-clients.txt" "$1/lib"
}

mlflow_dir() { printf '%s/mlflow/%s-%s' "$(cache_dir)" "$(key_of "$PARTS/mlflow.txt")" "$(python_tag)"; }

verb_mlflow() {
  require_python mlflow
  install_once mlflow "$(mlflow_dir)" build_mlflow
  refresh_launcher python "$(mlflow_dir)"
}

build_mlflow() { # DIR
  say "mlflow: fetching MLflow and what it needs (200 MB, 600 MB unpacked)"
  pip_target "$PARTS/mlflow.txt" "$1/lib"
}
