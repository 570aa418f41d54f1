#!/usr/bin/env bash
# A private PostgreSQL cluster for tests: a Unix socket in DIR, no TCP, an unprivileged owner, no fsync (test data only).
#
#   scripts/postgres.sh start DIR PIDFILE [PORT]   # prints a superuser conninfo once it answers; harmless if it does already;
#                                                  # PORT: listens there on all addresses, too
#   scripts/postgres.sh stop PIDFILE
set -euo pipefail

fail() { printf 'postgres: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[[ -n $bin ]] || fail "PostgreSQL is not installed" "scripts/install-packages.sh run"

# PostgreSQL refuses to run as root.
as_owner() { if ((EUID == 0)); then (cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"); else "$@"; fi; }

case ${1:-} in
  start)
    dir=$2 pidfile=$3 port=${4:-}
    mkdir -p "$dir"
    ((EUID != 0)) || chown postgres:postgres "$dir"
    chmod 700 "$dir"
    conninfo="host=$dir${port:+ port=$port} user=postgres dbname=postgres"
    if ! as_owner "$bin/pg_isready" -q -h "$dir" -p "${port:-5432}"; then
      if [[ ! -s $dir/data/PG_VERSION ]]; then
        as_owner rm -rf "$dir/data.new"
        as_owner "$bin/initdb" -D "$dir/data.new" -U postgres --auth=trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
        as_owner mv "$dir/data.new" "$dir/data"
      fi
      # A session of its own, so that it outlives this script and Ctrl-C does not reach it.
      as_owner setsid -f "$bin/postgres" -D "$dir/data" -c unix_socket_directories="$dir" -c listen_addresses="${port:+*}" \
        -c port="${port:-5432}" -c fsync=off \
        -c full_page_writes=off -c max_connections=200 -c logging_collector=off </dev/null >/dev/null 2>"$dir/../postgres.log"
      for ((i = 0; i < 300; i++)); do
        as_owner "$bin/pg_isready" -q -h "$dir" -p "${port:-5432}" && break
        sleep 0.1
      done
      as_owner "$bin/pg_isready" -q -h "$dir" -p "${port:-5432}" || { tail -n 10 "$dir/../postgres.log" >&2; fail "PostgreSQL did not start" "see the lines above"; }
    fi
    head -n 1 "$dir/data/postmaster.pid" >"$pidfile"
    echo "$conninfo"
    ;;
  stop) [[ ! -s $2 ]] || kill -INT "$(cat "$2")" 2>/dev/null || true ;;
  *) fail "unknown command '${1:-}'" "postgres.sh start DIR PIDFILE [PORT] | stop PIDFILE" ;;
esac
