#!/usr/bin/env bash
# The README's two commands on a bare Debian 12: a fresh debootstrap minbase chroot with git added, a clone of this
# checkout's HEAD, `./test.sh --unit`, then `./run.sh --template reference` until the demo agent answers a chat.
#
#   tests/bare/run.sh [DIR]       # as root; DIR defaults to a new folder in /var/tmp and is removed at the end
#
# Nothing installed on this machine by hand can help there.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
fail() { printf 'bare: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }
step() { printf '\n== bare: %s (%d s)\n' "$*" "$SECONDS"; }
((EUID == 0)) || fail "debootstrap and chroot need root" "run this as root"
root=${1:-$(mktemp -d /var/tmp/creel-bare.XXXXXX)}
runner=

cleanup() {
  trap - EXIT
  [[ -z $runner ]] || kill -TERM "$runner" 2>/dev/null || true
  [[ -z $runner ]] || wait "$runner" 2>/dev/null || true
  chroot "$root" /root/creel/scripts/engine.sh remove /var/lib/creel/engine >/dev/null 2>&1 || true
  # What the chroot had mounted goes in reverse order.
  awk -v d="$root/" '$2 "/" == d || index($2, d) == 1 { print $2 }' /proc/mounts | tac | while read -r point; do umount -l "$point" || true; done
  rm -rf --one-file-system "$root"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

chmod 755 "$root"  # it is somebody's /, which accounts other than root must be able to enter
step "debootstrap"
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
debootstrap --variant=minbase --include=git,ca-certificates bookworm "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 ||
  { tail -n 5 "$root.log" >&2; fail "debootstrap failed" "see $root.log"; }
rm -f "$root.log"
# The chroot reaches packages the way this machine does: sources, proxies and certificates are the network's, not Creel's.
cp -a /etc/apt/sources.list.d /etc/apt/apt.conf.d "$root/etc/apt/"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
# An engine unpacks images below a root of its own, which the kernel only allows where / is a mount.
mount --bind "$root" "$root" && mount --make-private "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"
mount --rbind /sys "$root/sys" && mount --make-rslave "$root/sys"
git clone -q "$source_dir" "$root/root/creel"
# Compiled objects are the one thing taken along, where there are any: they save minutes and prove nothing either way.
if [[ -d ${CCACHE_DIR:-$HOME/.cache/ccache} ]]; then
  mkdir -p "$root/root/.cache/ccache"
  mount --bind "${CCACHE_DIR:-$HOME/.cache/ccache}" "$root/root/.cache/ccache"
fi
inside=(chroot "$root" /usr/bin/env -i HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)

step "./test.sh --unit"
"${inside[@]}" bash -c 'cd /root/creel && ./test.sh --unit'

step "./run.sh --template reference"
"${inside[@]}" bash -c 'cd /root/creel && exec env CREEL_LISTEN=127.0.0.1:18180 CREEL_GATEWAY_LISTEN=127.0.0.1:18181 ./run.sh --template reference' \
  </dev/null >"$root/root/run.log" 2>&1 &
runner=$!
until grep -q '^Creel runs' "$root/root/run.log"; do
  kill -0 "$runner" 2>/dev/null || { tail -n 20 "$root/root/run.log" >&2; fail "run.sh ended" "see the lines above"; }
  sleep 1
done
key=$(cat "$root/var/lib/creel/admin.key")
for ((i = 0; i < 60; i++)); do
  answer=$(curl -s --noproxy '*' -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d '{"message":"Hello!"}' \
    http://127.0.0.1:18180/api/chat || true)
  [[ $answer == *'ECHO('* ]] && break
  sleep 1
done
[[ $answer == *'ECHO('* ]] || { tail -n 20 "$root/root/run.log" >&2; fail "the demo agent does not answer: $answer" "see the lines above"; }
step "done: $answer"
