#!/usr/bin/env bash
# The Dockerfile built for real, and Creel run by it: by compose.yaml with each of the three ways to an engine, and as the chart's
# pods, each time until an agent answers. As root; takes some minutes, most of them for the compiler.
#
#   tests/image/run.sh [DIR] [pytest arguments]   # DIR: an engine and what is made; default: a new one, removed at the end
#
# No registry is asked. debian:bookworm-slim is made by debootstrap; the other images of compose.yaml are Debian's packages under
# the names that compose.yaml has (stand-ins/).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
fail() { printf 'image: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }
step() { printf '\n== image: %s (%d s)\n' "$*" "$SECONDS"; }
((EUID == 0)) || fail "debootstrap needs root" "run this as root"
command -v docker-compose >/dev/null || fail "docker-compose is missing" "scripts/install-packages.sh test"
dir=${1:-} keep=${1:-}
shift $(($# > 0))
[[ -n $dir ]] || dir=$(mktemp -d /var/tmp/creel-image.XXXXXX)
mkdir -p "$dir"
chmod 755 "$dir"  # pods, which are not root, find the engine's socket in it

cleanup() {
  trap - EXIT
  if [[ -n $keep ]]; then
    "$source_dir/scripts/engine.sh" stop "$dir/engine" --with-containers >/dev/null 2>&1 || true
  else
    "$source_dir/scripts/engine.sh" remove "$dir/engine" >/dev/null 2>&1 || true
    rm -rf --one-file-system "$dir"
  fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "an engine that listens on TCP, with certificates on both sides"
# The first address of the network that pods are given, which is the engine's host as they see it.
export CREEL_IMAGE_SUBNET=10.255.97.0/24 CREEL_IMAGE_HOST=10.255.97.1
export CREEL_IMAGE_ENGINE_PORT=${CREEL_IMAGE_ENGINE_PORT:-23760}
if [[ ! -e $dir/certs/done ]]; then
  mkdir -p "$dir/certs"
  (
    cd "$dir/certs"
    exec 2>openssl.log
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 30
    for who in server client; do
      openssl req -newkey rsa:2048 -nodes -keyout $who-key.pem -out $who.csr -subj /CN=$who
      openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 30 -out $who.pem \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,IP:%s\n' "$CREEL_IMAGE_HOST")
    done
    mkdir -p client
    cp ca.pem client/ca.pem && cp client.pem client/cert.pem && cp client-key.pem client/key.pem
    chown -R 10001:10001 client && chmod 500 client && chmod 400 client/*
    touch done
  ) || fail "no certificates" "see $dir/certs/openssl.log"
fi
# The group is that of the chart's engine: Creel's own.
DOCKER_HOST=$(env -u DOCKER_HOST "$source_dir/scripts/engine.sh" start "$dir/engine" -- --group 10001 \
  --host "tcp://0.0.0.0:$CREEL_IMAGE_ENGINE_PORT" --tlsverify --tlscacert "$dir/certs/ca.pem" \
  --tlscert "$dir/certs/server.pem" --tlskey "$dir/certs/server-key.pem")
export DOCKER_HOST DOCKER_BUILDKIT=0
"$source_dir/templates/reference/build-image.sh"
"$source_dir/templates/egress/build-image.sh"

present() { docker image inspect "$1" >/dev/null 2>&1; }
# Packages reach a build the way they reach this machine.
build() { docker build --quiet --network host "$@" >"$dir/build.log" 2>&1 || { tail -n 25 "$dir/build.log" >&2; fail "docker build $*" "see $dir/build.log"; }; }

if ! present debian:bookworm-slim; then
  step "debian:bookworm-slim"
  mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  debootstrap --variant=minbase --include=ca-certificates bookworm "$dir/base" ${mirror:+"$mirror"} >"$dir/debootstrap.log" 2>&1 ||
    fail "debootstrap failed" "see $dir/debootstrap.log"
  # What Debian's own slim image leaves out.
  rm -rf "$dir"/base/var/cache/apt/* "$dir"/base/var/lib/apt/lists/* "$dir"/base/var/log/* \
    "$dir"/base/usr/share/{doc,man,info,locale,groff,lintian,linda}
  printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' >"$dir/base/etc/dpkg/dpkg.cfg.d/docker"
  # Sources, proxies and certificates are this network's, not Creel's.
  cp -a /etc/apt/sources.list.d /etc/apt/apt.conf.d "$dir/base/etc/apt/"
  cp -L /etc/ssl/certs/ca-certificates.crt "$dir/base/etc/ssl/certs/ca-certificates.crt"
  tar -C "$dir/base" --numeric-owner -c . | docker import --change 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
  rm -rf --one-file-system "$dir/base"
fi

step "what stands in for other people's images"
stand_in() {
  present "$2" || build --tag "$2" --file "$here/stand-ins/$1" "$here/stand-ins"
}
image_of() { sed -n "s/.*image: \${$1:-\(.*\)}/\1/p" "$source_dir/compose.yaml"; }
stand_in postgres "$(image_of CREEL_POSTGRES_IMAGE)"
stand_in prometheus "$(image_of CREEL_PROMETHEUS_IMAGE)"
stand_in caddy "$(image_of CREEL_CADDY_IMAGE)"
docker tag creel/egress:1 "$(image_of CREEL_NGINX_IMAGE)"

step "creel:0.1.0, by the Dockerfile"
git -C "$source_dir" diff --quiet HEAD -- . 2>/dev/null || echo "(with changes that are not committed)"
# CREEL_IMAGE_BUILD_ARGS: of the Dockerfile, "BUILD_BASE=… PRESET=dev", for a quick run while working at it.
arguments=()
for argument in ${CREEL_IMAGE_BUILD_ARGS:-}; do arguments+=(--build-arg "$argument"); done
build --tag creel:0.1.0 "${arguments[@]}" --build-arg "REVISION=$(git -C "$source_dir" rev-parse HEAD)" "$source_dir"

step "tests"
packages=$("$source_dir/tests/contract/install.sh")
export CREEL_IMAGE_DIR=$dir PYTHONDONTWRITEBYTECODE=1
CREEL_HELM=$("$source_dir/tests/chart/helm.sh")
export CREEL_HELM
cd "$here"
"$packages/python/bin/python" -m pytest -q -p no:cacheprovider --tb=short "$@"
