#!/usr/bin/env bash
# Installs the Debian packages of the named groups of packages.txt, those that are missing and no others.
#
#   scripts/install-packages.sh build run      # groups: build run image test
#
# Needs no network, and changes nothing, when everything is there already: run.sh, test.sh, CI and the Dockerfile
# all call it first thing, every time. Needs only what `debootstrap --variant=minbase` leaves: bash, dpkg, apt, coreutils, sed.
set -euo pipefail

list=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/packages.txt

say() { printf '%s\n' "$*" >&2; }
fail() { say "install-packages: $1"; say "  remedy: $2"; exit 1; }

[[ -r $list ]] || fail "$list is missing" "run this script from a complete checkout"
groups=$(sed -n 's/^\([a-z][a-z]*\) .*/\1/p' "$list" | sort -u | tr '\n' ' ')
(($#)) || fail "no group given" "name one or more of: $groups"
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
  fail "this is not a Debian system" "install by hand what scripts/packages.txt lists, under your system's names"

wanted=()
for group in "$@"; do
  [[ " $groups" == *" $group "* ]] || fail "unknown group '$group'" "name one or more of: $groups"
  while read -r g package _; do
    if [[ $g == "$group" && -n $package ]]; then wanted+=("$package"); fi
  done <"$list"
done

# One query for all: a dpkg-query a package would cost more than all the rest of a run that finds nothing to do.
# It exits 1 when a package is unknown to dpkg, which is an answer here, not an error.
installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p') || true
missing=()
for package in "${wanted[@]}"; do
  case $package in
    # Node comes from many places (nvm, NodeSource, /usr/local), and Debian's package would fight with those.
    nodejs) if command -v node >/dev/null; then continue; fi ;;
    npm) if command -v npm >/dev/null; then continue; fi ;;
  esac
  if [[ $'\n'$installed$'\n' != *$'\n'"$package"$'\n'* && " ${missing[*]-} " != *" $package "* ]]; then
    missing+=("$package")
  fi
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null ||
    fail "not root, and there is no sudo" "as root: apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
  say "install-packages: sudo is used for apt-get, to install ${#missing[@]} Debian package(s)"
fi
say "install-packages: installing ${missing[*]}"

output=$(mktemp)
trap 'rm -f "$output"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$output" 2>&1
}
update() {
  say "install-packages: apt-get update"
  updated=1
  apt update || { tail -n 15 "$output" >&2; fail "apt-get update failed" "check the network and the sources in /etc/apt"; }
}
install() { apt install --no-install-recommends "${missing[@]}"; }

# Fresh lists are fetched only if the ones here cannot do it: they do not know a package (a new system has none at all),
# or name a version that the mirror has dropped since.
updated=0
apt install --no-install-recommends --simulate "${missing[@]}" || update
started=$SECONDS
if ! install; then
  if ((updated)) || { update; ! install; }; then
    tail -n 15 "$output" >&2
    fail "apt-get could not install: ${missing[*]}" \
      "see the lines above; after fixing the cause, 'dpkg --configure -a' as root finishes what was interrupted"
  fi
fi
# Debian starts what it installs. What is here for the tests alone is started by them, when and where they want it.
if [[ -d /run/systemd/system ]]; then
  for service in caddy docker-registry prometheus; do
    if [[ " ${missing[*]} " == *" $service "* ]]; then "${as_root[@]}" systemctl -q disable --now "$service" || true; fi
  done
fi
say "install-packages: done in $((SECONDS - started)) s"
