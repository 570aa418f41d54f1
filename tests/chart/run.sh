#!/usr/bin/env bash
# Holds charts/creel to what a Helm chart should be, with the real helm, as ctest does:  run.sh CREEL [pytest arguments]
# CREEL_UPDATE_GOLDEN=1 rewrites golden/ and the schema's list of settings; then look at them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
packages=$(../contract/install.sh)
CREEL_HELM=$(./helm.sh)
export CREEL_HELM CREEL_BINARY=$1 PYTHONDONTWRITEBYTECODE=1
export HELM_CACHE_HOME=$packages/helm-home HELM_CONFIG_HOME=$packages/helm-home HELM_DATA_HOME=$packages/helm-home
shift
exec "$packages/python/bin/python" -m pytest -q -p no:cacheprovider --tb=short test_chart.py "$@"
