#!/usr/bin/env bash
# Makes the image of the fence and of the egress gateways in the engine of DOCKER_HOST (default: the standard socket), out of
# Debian's packages, without a container registry.
#
#   templates/egress/build-image.sh [TAG]      # default creel/egress:1; prints nothing if it is there already
#
# Needs apt-get, dpkg-deb, tar and curl, but neither root nor a docker CLI: the packages are unpacked, not installed. The image
# carries the hash of what it was made from in the label dev.creel.source-hash, so that a second run does nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../scripts/engine-api.sh"

say() { printf '%s\n' "$*" >&2; }
fail() { say "egress image: $1"; say "  remedy: $2"; exit 1; }

packages=(busybox nftables nginx libnginx-mod-stream dnsmasq-base)
tag=${1:-creel/egress:1}
hash=$(cd "$here" && sha256sum build-image.sh image/* | sha256sum | cut -c1-64)
engine_answers || fail "no Docker engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock} ($engine_error)" \
  "start one: export DOCKER_HOST=\$(scripts/engine.sh start DIR)"
image_is_there() { [[ $(image_label "$tag" dev.creel.source-hash) == "$hash" ]]; }
if image_is_there; then exit 0; fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "this is not a Debian system" "build it on one"

say "egress image: building $tag"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# To an apt that believes nothing to be installed, the packages' needs are all they need.
mkdir -p "$work/archives/partial"
: >"$work/status"
apt() {
  LC_ALL=C.UTF-8 apt-get -q -y -o Dir::State::status="$work/status" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
    -o Debug::NoLocking=1 -o APT::Sandbox::User= --no-install-recommends "$@" >"$work/log" 2>&1
}
if ! apt --download-only install "${packages[@]}"; then
  "$here/../../scripts/install-packages.sh" run  # fetches the lists when there are none
  apt --download-only install "${packages[@]}" || { tail -n 15 "$work/log" >&2; fail "the packages cannot be had" "apt-get update, and see the lines above"; }
fi

root=$work/root
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc,proc,sys,dev,tmp,run}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done
for package in "$work"/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink --no-same-owner
done
# What is never run here: documentation, services, the packages' own configuration; and nothing may raise its rights.
rm -rf "$root"/usr/share "$root"/usr/lib/systemd "$root"/usr/games "$root"/var "$root"/etc/*
find "$root" -perm /6000 -type f -exec chmod ug-s {} +
for applet in sh cat cp ls mkdir sleep; do ln -sf busybox "$root/usr/bin/$applet"; done
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
install -m 755 "$here"/image/fence "$here"/image/gateway "$root/usr/bin/"
chmod 1777 "$root/tmp"

tar --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 --format=gnu -C "$root" -cf "$work/root.tar" .
import_image "$tag" \
  'ENTRYPOINT []' 'CMD ["/usr/bin/fence"]' 'ENV PATH=/usr/sbin:/usr/bin' \
  "LABEL dev.creel.source-hash=$hash org.opencontainers.image.title=creel-egress org.opencontainers.image.version=1" \
  <"$work/root.tar" || fail "the engine refused the image: $engine_error" "see the engine's log"
image_is_there || fail "the image is not there after it was made" "see the engine's log"
say "egress image: $tag is ready"
