#!/usr/bin/env bash
# Stops what `make up` and `make mesh` left running. Each of them notes its
# processes in pid files: the process id, and the program it must be, so that a
# number which another program has by now is left alone.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly GRACE_SECONDS=30

is_ours() { # PID PROGRAM
  local command
  command=$(ps -p "$1" -o stat=,command= 2>/dev/null) || return 1
  # A zombie has ended; its parent has only not looked yet.
  [[ $command != Z* && $command == *"$(basename "$2")"* ]]
}

# end_signal PIDFILE: SIGTERM, but PostgreSQL would wait for its clients and
# NGINX would cut them.
end_signal() {
  case $(basename "$1" .pid) in
    postgres) echo INT ;;
    nginx) echo QUIT ;;
    *) echo TERM ;;
  esac
}

stop() { # PIDFILE
  local pid program waited=0
  { read -r pid && read -r program; } <"$1" || return 0
  if ! is_ours "$pid" "$program"; then
    rm -f "$1"
    return 0
  fi
  echo "down: stopping $(basename "$1" .pid) ($pid)"
  kill -"$(end_signal "$1")" "$pid" 2>/dev/null || true
  while is_ours "$pid" "$program"; do
    if ((waited++ >= GRACE_SECONDS * 10)); then
      echo "down: $(basename "$1" .pid) ($pid) does not end; killing it"
      kill -9 "$pid" 2>/dev/null || true
      break
    fi
    sleep 0.1
  done
  rm -f "$1"
}

# down.sh [DIRECTORY...]: those of --data-dir and --state-dir, .poterne and .mesh
# without any.
(($# > 0)) || set -- .poterne .mesh

shopt -s nullglob
# The two that supervise the others first: they stop theirs in order. What is
# left of the rest goes from the entry to the stores.
for dir; do
  for file in "$dir"/poterne.pid "$dir"/mesh.pid "$dir"/run/{nginx,edge-*,search,inference-*,worker-*,registry,redis,postgres,consul}.pid; do
    if [[ -f $file ]]; then stop "$file"; fi
  done
done
echo "down: nothing of ours is running in $*"
