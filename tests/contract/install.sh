#!/usr/bin/env bash
# Puts what the contract suite needs from PyPI and npm into a cache folder, once, and prints that folder's path.
#
#   tests/contract/install.sh      # CREEL_CACHE_DIR, default ~/.cache/creel
#
# Versions are pinned in requirements.txt and client/package-lock.json. Nothing of an npm package is run at its
# installation. Several at a time are safe: one installs, the others wait.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { printf 'contract tests: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }
command -v npm >/dev/null || fail "npm is missing" "scripts/install-packages.sh test"
python3 -c 'import venv, ensurepip' 2>/dev/null || fail "python3-venv is missing" "scripts/install-packages.sh test"

cache=${CREEL_CACHE_DIR:-$HOME/.cache/creel}
wanted=("$here"/requirements.txt "$here"/client/package{,-lock}.json)
target=$cache/contract-$(cat "${wanted[@]}" | sha256sum | cut -c1-12)
if [[ ! -e $target/done ]]; then
  mkdir -p "$cache"
  exec 9>"$cache/contract.lock"
  flock 9
  if [[ ! -e $target/done ]]; then
    # In its final place, because a virtual environment knows its own path; the file "done" says that it is whole.
    rm -rf "$target"
    mkdir "$target"
    (
      python3 -m venv "$target/python"
      "$target/python/bin/pip" install --quiet --no-deps --only-binary :all: -r "$here/requirements.txt"
      cp "$here"/client/package{,-lock}.json "$target"
      cd "$target"
      npm ci --no-audit --no-fund --ignore-scripts --legacy-peer-deps
    ) >"$target/log" 2>&1 || { tail -n 15 "$target/log" >&2; fail "the packages could not be installed" "see above"; }
    touch "$target/done"
  fi
fi
printf '%s\n' "$target"
