#!/usr/bin/env bash
# Builds the reference agent and makes its image in the engine of DOCKER_HOST (default: the standard socket).
#
#   templates/reference/build-image.sh [TAG]          # default creel/reference-agent:1; prints nothing if it is there already
#   templates/reference/build-image.sh --binary FILE  # only the program, no engine needed
#
# Needs g++, tar and curl; no docker CLI and no network. The image carries the hash of what it was made from in the label
# dev.creel.source-hash, so that a second run with the same sources does nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../scripts/engine-api.sh"

say() { printf '%s\n' "$*" >&2; }
fail() { say "reference image: $1"; say "  remedy: $2"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compile() {
  local compiler=${CXX:-g++}
  command -v "$compiler" >/dev/null || fail "$compiler is not installed" "scripts/install-packages.sh build"
  # Static and without libstdc++: the image is this one file. The same flags as in agent/CMakeLists.txt.
  (cd "$here/agent" && "$compiler" -std=c++20 -Os -Wall -Wextra -Wpedantic -D_GNU_SOURCE -fno-exceptions -fno-rtti \
    -fno-threadsafe-statics -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -fstack-protector-strong \
    -fno-pie -static -no-pie -s -Wl,--gc-sections -o "$1" ./*.cpp) || fail "the agent does not compile" "see the compiler's lines above"
}

if [[ ${1:-} == --binary ]]; then
  [[ -n ${2:-} ]] || fail "--binary needs a file name" "build-image.sh --binary FILE"
  compile "$work/agent"
  # Beside its place first, then renamed: never half a program, and one that is running can be replaced.
  cp "$work/agent" "$2.new.$$" && mv -f "$2.new.$$" "$2" || fail "cannot write $2" "name a file in a writable folder"
  exit 0
fi

tag=${1:-creel/reference-agent:1}
# Whatever could change the image, this script included.
hash=$(cd "$here" && sha256sum build-image.sh agent/*.cpp agent/*.hpp | sha256sum | cut -c1-64)
engine_answers || fail "no Docker engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock} ($engine_error)" \
  "start one: export DOCKER_HOST=\$(scripts/engine.sh start DIR)"
if [[ $(image_label "$tag" dev.creel.source-hash) == "$hash" ]]; then exit 0; fi

say "reference image: building $tag"
root=$work/root
mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp,home/agent/state}
compile "$root/bin/agent"
printf 'root:x:0:0:root:/:/sbin/nologin\nagent:x:1000:1000:agent:/home/agent:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nagent:x:1000:\n' >"$root/etc/group"
chmod 755 "$root" "$root"/{bin,etc,proc,sys,dev,home} "$root/bin/agent"
chmod 644 "$root"/etc/*
chmod 1777 "$root/tmp"
chmod 755 "$root/home/agent"
chmod 700 "$root/home/agent/state"
# Two passes, because whoever runs this need not be root: everything is root's but the agent's home. A fresh volume mounted on
# the state folder takes owner and mode from it. Fixed order and times make the same image out of the same sources.
archive() { tar --sort=name --mtime=@0 --numeric-owner --format=gnu -C "$root" "$@"; }
archive -cf "$work/root.tar" --owner=0 --group=0 --exclude=./home/agent .
archive -rf "$work/root.tar" --owner=1000 --group=1000 ./home/agent

import_image "$tag" \
  'ENTRYPOINT ["/bin/agent"]' 'USER 1000:1000' 'WORKDIR /home/agent' 'EXPOSE 18789/tcp' \
  'ENV PATH=/bin STATE_DIR=/home/agent/state' \
  "LABEL dev.creel.template=reference dev.creel.source-hash=$hash org.opencontainers.image.title=creel-reference-agent org.opencontainers.image.version=1" \
  <"$work/root.tar" || fail "the engine refused the image: $engine_error" "see the engine's log"
[[ $(image_label "$tag" dev.creel.source-hash) == "$hash" ]] || fail "the image is not there after it was made" "see the engine's log"
say "reference image: $tag is ready"
