# Shared by scripts/components.sh and the files beside this one. Sourced, never run.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by the files that are sourced after this one
readonly EXIT_MISSING=3 # a part has no build for this machine and none is installed

say() { printf 'components: %s\n' "$*" >&2; }

die() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

cache_dir() { printf '%s' "${POTERNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poterne}"; }

sha256_of() {
  if command -v sha256sum >/dev/null; then
    sha256sum "$@" | cut -d' ' -f1
  else
    shasum -a 256 "$@" | cut -d' ' -f1
  fi
}

# key_of FILE...: twelve hexadecimal digits that change when a file's content does.
key_of() { cat "$@" | sha256_of - | cut -c1-12; }

check_sha256() { # FILE WANTED
  local got
  got=$(sha256_of "$1")
  [[ $got == "$2" ]] || die 1 "$1 has SHA-256 $got, not the pinned $2: refused"
}

# with_lock NAME COMMAND...: one holder at a time on this machine. Where flock is
# missing (macOS) a directory serves: mkdir is atomic.
with_lock() {
  local name=$1 dir rc=0
  shift
  dir="$(cache_dir)/locks"
  mkdir -p "$dir"
  if command -v flock >/dev/null; then
    (
      flock -n 9 || {
        say "$name: waiting for another run that is fetching it"
        flock 9
      }
      "$@"
    ) 9>"$dir/$name.lock" || rc=$?
    return "$rc"
  fi
  with_lock_dir "$dir/$name.dir" "$@"
}

with_lock_dir() { # DIR COMMAND...: the holder's pid lies inside, so that a dead holder is seen
  local dir=$1 rc=0 holder
  shift
  until mkdir "$dir" 2>/dev/null; do
    holder=$(cat "$dir/pid" 2>/dev/null || true)
    [[ -n $holder ]] && ! kill -0 "$holder" 2>/dev/null && rm -rf "$dir"
    sleep 1
  done
  echo "${BASHPID:-$$}" >"$dir/pid"
  ("$@") || rc=$?
  rm -rf "$dir"
  return "$rc"
}

# install_once NAME DEST COMMAND...: runs COMMAND with an empty directory as its
# last argument and renames that to DEST when it succeeded. DEST is complete or
# absent, so a run that was cut off never counts.
install_once() {
  local name=$1 dest=$2
  shift 2
  [[ -d $dest ]] && return 0
  with_lock "$name" install_locked "$name" "$dest" "$@"
}

# It runs in the subshell of with_lock, whose exit removes what was left half done.
install_locked() {
  local name=$1 dest=$2 tmp
  shift 2
  [[ -d $dest ]] && return 0
  mkdir -p "$(cache_dir)/tmp" "$(dirname "$dest")"
  rm -rf "$(cache_dir)/tmp/$name".* # of a run that was killed: this one holds the lock
  tmp=$(mktemp -d "$(cache_dir)/tmp/$name.XXXXXX")
  # shellcheck disable=SC2064 # the path of now is meant
  trap "rm -rf '$tmp'" EXIT
  "$@" "$tmp" || die 1 "$name: failed, nothing was kept"
  chmod 755 "$tmp"
  mv "$tmp" "$dest"
  say "$name: ready"
}

# point LINK TARGET: a stable name for the present version.
point() {
  [[ "$(readlink "$1" 2>/dev/null || true)" == "$2" ]] || ln -sfn "$2" "$1"
}
