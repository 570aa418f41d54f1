#!/usr/bin/env bash
# What can be said of the image, compose.yaml and the chart without an engine, as ctest does; run.sh does all of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
packages=$(../contract/install.sh)
PYTHONDONTWRITEBYTECODE=1 exec "$packages/python/bin/python" -m pytest -q -p no:cacheprovider --tb=short test_structure.py "$@"
