#!/usr/bin/env bash
# Sets everything up on a Debian 12 machine and passes the tests.
#
#   ./test.sh               # what CI runs: format, unit tests under the sanitizers, everything else against real parts
#   ./test.sh --unit        # format and unit tests only: no engine, no PostgreSQL
#   ./test.sh --all         # also the slowest proofs and the benchmarks
#   ./test.sh -R REGEX      # only the tests whose names match
#
# It starts a private Docker engine and a private PostgreSQL cluster below CREEL_TEST_DIR (default: a folder of this
# checkout's own in /var/tmp) and stops them at the end. Nothing of the machine's own engine or databases is touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
fail() { printf 'test.sh: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }

unit_only= all= filter=()
while (($#)); do
  case $1 in
    --unit) unit_only=1; shift ;;
    --all) all=1; shift ;;
    -R) (($# >= 2)) || fail "-R needs a regular expression" "./test.sh -R Plan"; filter=(-R "$2"); shift 2 ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown argument '$1'" "./test.sh [--unit | --all] [-R REGEX]" ;;
  esac
done

step "packages"
scripts/install-packages.sh build run image test

step "format"
git ls-files '*.cpp' '*.hpp' 2>/dev/null | xargs -r clang-format --dry-run --Werror

step "build: asan (unit tests, simulation)"
cmake --preset asan >/dev/null
cmake --build --preset asan --target unit_tests creel_sim creel
step "unit tests and simulated histories under address and undefined-behaviour sanitizers"
ctest --preset asan -L 'unit|sim' "${filter[@]}" --no-tests=ignore -j 2 --timeout 120 | tail -n 25
((PIPESTATUS[0] == 0)) || exit 1
[[ -z $unit_only ]] || exit 0

step "build: dev (everything)"
cmake --preset dev >/dev/null
cmake --build --preset dev

work=${CREEL_TEST_DIR:-/var/tmp/creel-test-$(id -u)-$(pwd | sha256sum | cut -c1-8)}
mkdir -p "$work"
cleanup() {
  trap - EXIT
  [[ ! -s $work/postgres.pid ]] || kill -INT "$(cat "$work/postgres.pid")" 2>/dev/null || true
  scripts/engine.sh stop "$work/engine" --with-containers >/dev/null 2>&1 || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "private Docker engine and agent images"
DOCKER_HOST=$(env -u DOCKER_HOST scripts/engine.sh start "$work/engine")
export DOCKER_HOST
templates/reference/build-image.sh
templates/egress/build-image.sh
templates/openclaw/build-image.sh

step "private PostgreSQL"
CREEL_TEST_DATABASE_URL=$(scripts/postgres.sh start "$work/postgres" "$work/postgres.pid")
export CREEL_TEST_DATABASE_URL CREEL_TEST_WORK=$work

if [[ -n $all ]]; then
  export CREEL_SCHEMATHESIS_EXAMPLES=60 CREEL_CHAOS_SECONDS=600 CREEL_AWAY_SECONDS=600 CREEL_CUTS=all
  step "benchmarks"
  cmake --preset release -DCREEL_TESTS=ON >/dev/null
  cmake --build --preset release
  build/release/provision_bench
  build/release/stats_bench
  build/release/gateway_bench
  build/release/front_bench
  build/release/sse_bench
  step "a million simulated histories"
  build/dev/creel_sim --histories 1000000
  step "bugs put in on purpose, which simulated histories must find"
  tests/sim/mutations.py build/dev
  step "a bare machine"
  tests/bare/run.sh
  step "the image, compose.yaml and the chart's pods"
  tests/image/run.sh
fi

# Last, so that its closing lines are the run's.
step "all tests"
ctest --preset dev "${filter[@]}"
