#!/usr/bin/env bash
# Puts what the chain and browser tests need from npm into a cache folder, once, and prints that folder's path.
#
#   tests/chain/install.sh      # CREEL_CACHE_DIR, default ~/.cache/creel
#
# Versions are pinned here; there is no lock file, because it would name a registry's host. Nothing of a package is run at
# its installation. Several at a time are safe: one installs, the others wait.
set -euo pipefail

installed=(ethers@6.17.0 solc@0.8.37 playwright-core@1.65.1 @foundry-rs/anvil-linux-amd64@1.7.1)
# Only their compiled contracts are wanted, not the tool chains they depend on.
unpacked=(@ethereum-attestation-service/eas-contracts@1.9.0 @ensdomains/ens@0.6.2 @ensdomains/resolver@0.3.1)

fail() { printf 'chain tests: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }
command -v npm >/dev/null || fail "npm is missing" "scripts/install-packages.sh test"

cache=${CREEL_CACHE_DIR:-$HOME/.cache/creel}
target=$cache/chain-$(printf '%s\n' "${installed[@]}" "${unpacked[@]}" | sha256sum | cut -c1-12)
if [[ ! -d $target ]]; then
  mkdir -p "$cache"
  exec 9>"$cache/chain.lock"
  flock 9
  if [[ ! -d $target ]]; then
    work=$(mktemp -d "$cache/chain-new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (
      cd "$work"
      echo '{"private": true}' >package.json
      npm install --no-audit --no-fund --ignore-scripts --no-package-lock "${installed[@]}"
      for package in "${unpacked[@]}"; do
        folder=node_modules/${package%@*}
        mkdir -p "$folder"
        file=$(npm pack --silent "$package" | tail -n 1)
        tar -xzf "$file" -C "$folder" --strip-components=1
        rm "$file"
      done
      rm -f node_modules/.package-lock.json
    ) >"$work/log" 2>&1 || { tail -n 15 "$work/log" >&2; fail "npm could not install" "see above; check npm's registry"; }
    mv "$work" "$target"
    trap - EXIT
  fi
fi
printf '%s\n' "$target"
