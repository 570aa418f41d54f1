#!/usr/bin/env bash
# A private Docker engine, for a machine (a container, a chroot, a CI runner) that has none, and for tests.
#
#   scripts/engine.sh start DIR [-- FLAG...]         # prints its DOCKER_HOST when it answers; harmless if it does already;
#                                                    # further flags go to dockerd
#   scripts/engine.sh stop DIR [--with-containers]   # see below
#   scripts/engine.sh status DIR                     # exit 0: answers, 3: does not
#   scripts/engine.sh remove DIR                     # stop with containers, then delete its networks and DIR
#
# All it has is under DIR: data/ (images, volumes), exec/ (run-time state), docker.sock, pid, log, daemon.json. It needs root
# (it calls sudo if it must) and Debian's docker.io and iptables, but no systemd and no docker CLI.
#
# It keeps out of the way of another engine on the host: it reads no /etc/docker/daemon.json, owns no docker0 (containers need
# a network made for them, or none), hands out network addresses that no route of the host uses, has its own containerd
# (or its own namespace in the system's), and puts back the firewall rules of the other engine, which dockerd sweeps away
# when it starts.
#
# `stop` ends dockerd, which gives its containers 10 s to stop and starts those with a restart policy again at the next
# `start`, as a host reboot does. With --with-containers they are stopped first, one by one, and stay stopped.
# The containers do not outlive the engine (live-restore is off).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/engine-api.sh"

say() { printf '%s\n' "$*" >&2; }
fail() { say "engine: $1"; say "  remedy: $2"; exit 1; }

(($# >= 2)) || fail "usage: engine.sh start|stop|status|remove DIR" "name a command and a folder of the engine's own"
verb=$1 dir=$2 option=${3:-}
case $verb:$option in
  start:-- | start: | status: | remove: | stop: | stop:--with-containers) ;;
  *) fail "unknown command or option: $verb $option" "engine.sh start DIR [-- FLAG...] | stop DIR [--with-containers] | status DIR | remove DIR" ;;
esac

more_flags=("${@:4}")

if [[ $verb != status ]] && ((EUID != 0)); then
  command -v sudo >/dev/null || fail "an engine needs root, and there is no sudo" "run this as root"
  say "engine: calling sudo, an engine needs root"
  exec sudo -- "${BASH_SOURCE[0]}" "$@"
fi

if [[ ! -d $dir ]]; then
  case $verb in
    start) mkdir -p "$dir" 2>/dev/null || fail "cannot create $dir" "name a folder on a writable file system" ;;
    status) say "engine: not running ($dir does not exist)"; exit 3 ;;
    *) exit 0 ;;
  esac
fi
dir=$(cd "$dir" && pwd -P)
# The longest of the Unix sockets below DIR, exec/containerd/containerd.sock.ttrpc, must fit the kernel's 107 bytes.
((${#dir} <= 70)) || fail "the path $dir is too long for the sockets in it" "name a folder whose path has at most 70 characters"
export DOCKER_HOST=unix://$dir/docker.sock

# The process id of this folder's dockerd. The pid file alone proves nothing: after a crash or a reboot the number may be
# another program's, and even another dockerd's.
running_pid() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] &&
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "$dir/pid" && echo "$pid"
}

# --- start -----------------------------------------------------------------------------------------------------------------

# A chroot or a bare container may have neither /sys nor cgroups. What is mounted is the hierarchy this process lives in.
mount_cgroups() {
  local id names path
  mountpoint -q /proc || mount -t proc proc /proc 2>/dev/null || fail "/proc is not mounted" "mount -t proc proc /proc"
  [[ -d /sys/kernel ]] || mount -t sysfs sysfs /sys 2>/dev/null || fail "/sys is not mounted" "mount -t sysfs sysfs /sys"
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]] || grep -q ' /sys/fs/cgroup/.* cgroup ' /proc/mounts; then return; fi
  say "engine: mounting the cgroup file systems below /sys/fs/cgroup"
  local refused="run it where mounting is allowed (a container needs --privileged), or mount cgroups there yourself"
  if ! grep -q '^[1-9]' /proc/self/cgroup; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || fail "cannot mount cgroup2 on /sys/fs/cgroup" "$refused"
    return
  fi
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup || fail "cannot mount a tmpfs on /sys/fs/cgroup" "$refused"
  while IFS=: read -r id names path; do
    ((id)) || continue
    path=/sys/fs/cgroup/${names#name=}
    mkdir -p "$path"
    [[ $names != name=* ]] || names=none,$names
    mount -t cgroup -o "$names" cgroup "$path" ||
      { umount -R /sys/fs/cgroup; fail "cannot mount the cgroup controllers $names" "$refused"; }
  done </proc/self/cgroup
}

ip_number() {
  local IFS=. a b c d
  read -r a b c d <<<"$1"
  echo $(((a << 24) + (${b:-0} << 16) + (${c:-0} << 8) + ${d:-0}))
}

# A /16 for this engine's networks, 64 of them with room for 1,021 containers each. Where to begin depends on DIR, so that
# several private engines seldom meet; what the host has a route to is passed over. The choice is kept: at the next start the
# engine's own bridges, which are still there, would count against it.
choose_addresses() {
  local file=$dir/addresses i base first last route bits low high
  if [[ ! -s $file ]]; then
    local -a taken=()
    while read -r route; do taken+=("$route"); done < <(ip -4 route show table all 2>/dev/null |
      sed -nE 's/^((local|broadcast|unicast|multicast|blackhole|unreachable|throw) )?([0-9.]+(\/[0-9]+)?) .*/\3/p' | sort -u)
    local start=$((16#$(printf '%s' "$dir" | sha256sum | cut -c1-4) % 128))
    for ((i = 0; i < 128; i++)); do
      base=10.$((64 + (start + i) % 128)).0.0
      first=$(ip_number "$base")
      last=$((first + 65535))
      for route in ${taken[@]+"${taken[@]}"}; do
        bits=32
        [[ $route != */* ]] || bits=${route#*/}
        low=$(ip_number "${route%/*}")
        high=$((low + (1 << (32 - bits)) - 1))
        if ((low <= last && high >= first)); then continue 2; fi
      done
      echo "$base/16" >"$file"
      break
    done
    # A route to all of 10.0.0.0/8: the engine's default pools are as good a guess as any, and it too avoids the host's routes.
    [[ -s $file ]] || echo none >"$file"
  fi
  cat "$file"
}

# The rules that other engines have put into the chains all engines share. dockerd empties those chains when it starts
# (without this, containers of the other engine would lose their published ports and the isolation of their networks).
engine_rules() {
  { iptables-save 2>/dev/null || true; } | awk '/^\*/ { table = $0 } /^-A DOCKER/ { print table "\t" $0 }'
}
restore_rules() {
  local before=$1 now
  [[ -n $before ]] || return 0
  now=$(engine_rules)
  # Put in at the top, last one first: the order stays, and they come before the chains' closing RETURN.
  comm -23 <(sort -u <<<"$before") <(sort -u <<<"$now") >"$dir/rules" || true
  grep -nxFf "$dir/rules" <<<"$before" | sort -t: -k1,1nr | cut -d: -f2- | awk -F'\t' '
    { sub(/^-A/, "-I", $2); rules[$1] = rules[$1] $2 "\n" }
    END { for (table in rules) printf "%s\n%sCOMMIT\n", table, rules[table] }' >"$dir/rules.restore" || true
  if [[ -s $dir/rules.restore ]] && ! iptables-restore --noflush <"$dir/rules.restore" 2>/dev/null; then
    say "engine: warning: firewall rules of another engine on this host could not be put back; restart that engine"
  fi
  rm -f "$dir/rules" "$dir/rules.restore"
}

hint() {
  local log
  log=$(tail -n 60 "$dir/log" 2>/dev/null)
  case $log in
    *"Devices cgroup isn't mounted"* | *'cgroups: cgroup mountpoint does not exist'*)
      echo "mount the cgroup hierarchies below /sys/fs/cgroup" ;;
    *iptables*'not found'* | *iptables*'ermission denied'* | *'controller: '*iptables* | *'addrtype'* | *'nat'*'Table does not exist'*)
      echo "install iptables and run with CAP_NET_ADMIN; 'iptables -t nat -L' must work (else try update-alternatives --set iptables /usr/sbin/iptables-legacy)" ;;
    *'no space left'*) echo "free some disk space for $dir" ;;
    *'perations not permitted'* | *'peration not permitted'*)
      echo "run it as real root: in a container that takes --privileged" ;;
    *'failed to start containerd'* | *'failed to dial'*)
      echo "a containerd does not answer: ps shows whether it is the system's or that of $dir/exec; start or end it" ;;
    *) echo "see $dir/log" ;;
  esac
}

start() {
  local pid tool
  exec 9>"$dir/lock"
  flock -w 120 9 || fail "another engine.sh holds $dir/lock" "wait for it, or end it"
  if engine_answers; then
    echo "$DOCKER_HOST"
    return
  fi
  for tool in dockerd containerd runc iptables ip curl; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
      fail "$tool is not installed" "scripts/install-packages.sh run"
  done
  export PATH=$PATH:/usr/sbin:/sbin
  mount_cgroups
  if pid=$(running_pid); then
    say "engine: dockerd (pid $pid) runs but does not answer yet; waiting"
  else
    launch
    pid=$launched
  fi
  local deadline=$((SECONDS + 60))
  until engine_answers; do
    if ! kill -0 "$pid" 2>/dev/null; then
      tail -n 15 "$dir/log" >&2
      fail "dockerd ended before it answered" "$(hint)"
    fi
    if ((SECONDS >= deadline)); then
      tail -n 15 "$dir/log" >&2
      kill "$pid" 2>/dev/null || true
      fail "dockerd did not answer within 60 s and was told to end" "$(hint)"
    fi
    sleep 0.1
  done
  restore_rules "${rules_before-}"
  echo "$DOCKER_HOST"
}

# In a containerd that several engines share.
namespace() { printf 'creel-%s' "$(printf '%s' "$dir" | sha256sum | cut -c1-12)"; }

launch() {
  local pool name
  local -a flags
  rm -f "$dir/pid" "$dir/docker.sock"
  # The containerd of a dockerd that was killed dies with it. Where process 1 does not collect orphans, as in many containers, it
  # stays a zombie, which the next dockerd would take for alive and wait for in vain.
  local containerd=$dir/exec/containerd/containerd.pid
  if [[ -e $containerd ]] && ! grep -qaF -- "$dir/exec/" "/proc/$(cat "$containerd")/cmdline" 2>/dev/null; then
    rm -f "$dir"/exec/containerd/*.{pid,sock,ttrpc}
  fi
  # An empty file of its own: given none, dockerd reads /etc/docker/daemon.json, which speaks of the host's engine.
  echo '{}' >"$dir/daemon.json"
  name=$(namespace)
  flags=(--config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid"
    --host "$DOCKER_HOST" --bridge none --containerd-namespace "$name" --containerd-plugins-namespace "$name-plugins")
  pool=$(choose_addresses)
  [[ $pool == none ]] || flags+=(--default-address-pool "base=$pool,size=22")
  # Called through sudo, the socket goes to the caller, who may be root anyway. Otherwise to group docker if there is one.
  if [[ -n ${SUDO_GID:-} ]]; then
    flags+=(--group "$SUDO_GID")
  elif ! getent group docker >/dev/null; then
    flags+=(--group 0)
  fi
  # dockerd starts a containerd of its own unless it finds the system's socket, and a socket left by a dead containerd is
  # found too. So one that refuses connections is taken away; one that answers is shared, in a namespace of our own.
  local system=/run/containerd/containerd.sock status=0
  if [[ -S $system ]]; then
    # curl: 7 = nobody listens; anything else means that somebody does (who does not speak HTTP/1).
    curl --silent --max-time 2 --unix-socket "$system" http://containerd/ >/dev/null 2>&1 || status=$?
    ((status != 7)) || rm -f "$system"
  fi
  rules_before=$(engine_rules)
  [[ ! -s $dir/log ]] || mv -f "$dir/log" "$dir/log.1"
  # A session of its own, so that Ctrl-C in the caller's terminal does not reach it; no descriptor of ours, above all not the
  # lock; and not in the caller's folder.
  (
    cd / && umask 022
    ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
    # Left by an interrupted start in a chroot or a container. pivot_root cannot work where / is the kernel's first file system.
    if [[ $(stat -f -c %T /) == ramfs || $(awk '$5 == "/" { t = $0 } END { print t }' /proc/self/mountinfo) == *' - rootfs '* ]]; then
      export DOCKER_RAMDISK=true
    fi
    exec setsid dockerd "${flags[@]}" ${more_flags[@]+"${more_flags[@]}"} </dev/null >>"$dir/log" 2>&1 9>&-
  ) &
  launched=$!
}

# --- stop ------------------------------------------------------------------------------------------------------------------

stop() {
  local pid id waited=0
  exec 9>"$dir/lock"
  flock -w 120 9 || fail "another engine.sh holds $dir/lock" "wait for it, or end it"
  if ! pid=$(running_pid); then return; fi
  if [[ $option == --with-containers ]] && engine_answers; then
    local -a stopping=()
    for id in $(container_ids); do
      engine_request POST "/containers/$id/stop?t=10" --max-time 60 --output /dev/null 2>/dev/null &
      stopping+=("$!")
      # A few at a time: each is a kernel-side teardown of namespaces, and hundreds at once only queue.
      if ((${#stopping[@]} >= 16)); then wait "${stopping[@]}" || true; stopping=(); fi
    done
    wait ${stopping[@]+"${stopping[@]}"} || true
  fi
  kill "$pid" 2>/dev/null || true
  # dockerd gives containers 10 s each, all together, and gives up on them after 15 s.
  while kill -0 "$pid" 2>/dev/null && [[ $(awk '{ print $3 }' "/proc/$pid/stat" 2>/dev/null) != Z ]]; do
    sleep 0.1
    ((++waited))
    if ((waited == 600)); then
      say "engine: dockerd (pid $pid) did not end within 60 s; killing it"
      kill -9 "$pid" 2>/dev/null || true
    fi
    ((waited < 700)) || fail "dockerd (pid $pid) cannot be killed" "it hangs in the kernel: see its stack in /proc/$pid/stack"
  done
  rm -f "$dir/pid" "$dir/docker.sock"
}

container_ids() {
  engine_request GET /containers/json --max-time 30 | grep -o '"Id":"[0-9a-f]\{64\}"' | cut -d'"' -f4 || true
}

# A dockerd that was killed may have forgotten processes, which then nobody ends.
end_strays() {
  local shim
  for shim in $(pgrep -f -- "^[^ ]*containerd-shim[^ ]* -namespace $(namespace) " || true); do
    pkill -9 -P "$shim" || true
    kill -9 "$shim" 2>/dev/null || true
  done
}

remove() {
  local id mounted
  option=--with-containers
  if engine_answers; then
    # Networks are deleted by the engine: it alone knows which bridges and firewall rules are its own.
    for id in $(engine_request GET '/containers/json?all=1' --max-time 30 | grep -o '"Id":"[0-9a-f]\{64\}"' | cut -d'"' -f4); do
      engine_request DELETE "/containers/$id?force=1&v=1" --max-time 60 --output /dev/null 2>/dev/null || true
    done
    engine_request POST /networks/prune --max-time 60 --output /dev/null 2>/dev/null || true
  fi
  stop
  end_strays
  for mounted in $(awk -v d="$dir/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r); do
    umount "$mounted" 2>/dev/null || umount -l "$mounted" || fail "cannot unmount $mounted" "see what uses it: fuser -m $mounted"
  done
  rm -rf --one-file-system "$dir"
}

case $verb in
  start) start ;;
  stop) stop ;;
  remove) remove ;;
  status)
    if engine_answers; then
      say "engine: running (pid $(running_pid || echo unknown)), DOCKER_HOST=$DOCKER_HOST"
    else
      say "engine: not running ($engine_error)"
      exit 3
    fi
    ;;
esac
