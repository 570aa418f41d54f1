#!/usr/bin/env bash
# Runs one file of the contract suite, as ctest does:  run.sh CONTRACT_SERVER test_FILE.py [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
packages=$(./install.sh)
export CREEL_CONTRACT_SERVER=$1 CREEL_CONTRACT_PACKAGES=$packages PYTHONDONTWRITEBYTECODE=1
shift
exec "$packages/python/bin/python" -m pytest -q -p no:cacheprovider --tb=short "$@"
