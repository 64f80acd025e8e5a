# Redis, PostgreSQL, NGINX and memcached, from the system's packages. Sourced by components.sh.
# shellcheck shell=bash

readonly SERVER_PACKAGES=(redis-server postgresql nginx-light memcached)

redis_server_bin() { command -v redis-server; }

redis_cli_bin() { command -v redis-cli; }

memcached_bin() { PATH="$PATH:/usr/sbin:/usr/local/bin" command -v memcached; }

nginx_bin() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nginx; }

# postgres_bin_dir: the newest installed version's directory of initdb, postgres, pg_ctl.
postgres_bin_dir() {
  local dir
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr); do
    [[ -x $dir/initdb && -x $dir/postgres ]] && printf '%s' "$dir" && return 0
  done
  dir=$(pg_config --bindir 2>/dev/null) && [[ -x $dir/initdb ]] && printf '%s' "$dir"
}

have_servers() { redis_server_bin && redis_cli_bin && memcached_bin && nginx_bin && postgres_bin_dir; } >/dev/null

verb_servers() {
  have_servers && return 0
  if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    die "$EXIT_MISSING" "servers: install redis-server, PostgreSQL, NGINX and memcached (Debian and Ubuntu: apt-get install ${SERVER_PACKAGES[*]}; macOS: brew install redis postgresql nginx memcached)"
  fi
  with_lock servers install_servers
}

install_servers() {
  have_servers && return 0
  local package missing=()
  for package in "${SERVER_PACKAGES[@]}"; do package_installed "$package" || missing+=("$package"); done
  say "servers: installing ${missing[*]} from the system's packages (60 MB); none is started, now or at boot"
  apt-get update -qq >&2
  keep_stopped apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  for package in "${missing[@]}"; do not_at_boot "$package"; done
  have_servers || die 1 "servers: installed, but not all were found afterwards"
}

package_installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == "install ok installed" ]]; }

# not_at_boot PACKAGE: what this script has installed serves nobody by itself; a
# service that was there before is left as it is.
not_at_boot() {
  local unit=$1
  [[ $unit == nginx-light ]] && unit=nginx
  if command -v systemctl >/dev/null; then
    systemctl disable --quiet "$unit" >&2 || say "servers: $unit may start at boot: systemctl disable $unit"
  elif command -v update-rc.d >/dev/null; then
    update-rc.d "$unit" disable >&2 || say "servers: $unit may start at boot: update-rc.d $unit disable"
  fi
}

# verb_compose: docker-compose, to check docker-compose.yml; no engine is needed.
verb_compose() {
  command -v docker-compose >/dev/null && return 0
  docker compose version >/dev/null 2>&1 && return 0
  if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 ]]; then
    die "$EXIT_MISSING" "compose: install docker-compose, or docker with its compose plugin"
  fi
  with_lock compose install_compose
}

install_compose() {
  say "compose: installing docker-compose"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker-compose >&2
}

# keep_stopped COMMAND...: the packages start nothing; tests run servers of their own.
keep_stopped() {
  local policy=/usr/sbin/policy-rc.d made=0 rc=0
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=1
  fi
  DEBIAN_FRONTEND=noninteractive "$@" || rc=$?
  [[ $made -eq 1 ]] && rm -f "$policy"
  return "$rc"
}
