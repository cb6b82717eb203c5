#!/bin/sh
# Builds the wheel into DIRECTORY: compiled where this machine has a C compiler, plain Python otherwise; says which.
#
# usage: PYTHON=python3 ACCELERATE= scripts/wheel.sh DIRECTORY
#
# ACCELERATE=1 fails where it cannot compile, ACCELERATE=0 never does. Both wheels behave the same; docs/performance-compiled.md
# has the figures. The tools of the build go into an environment of their own that is gone afterwards.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} accelerate=${ACCELERATE:-auto} out=$1

case $accelerate in
0) reason='ACCELERATE=0' ;;
1 | auto) reason=$(sh scripts/compiler.sh "$python") || [ "$accelerate" = auto ] || { echo "cannot compile: $reason" >&2; exit 1; } ;;
*) echo "ACCELERATE must be 0 or 1, not $accelerate" >&2; exit 1 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet install --require-hashes -r requirements/compile.txt

if [ -z "$reason" ]; then
    echo "core: compiled; this takes a minute or two"
    POSTREEVE_COMPILE=1 "$work/venv/bin/python" -m hatchling build -t wheel -d "$work/out" >"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        [ "$accelerate" = auto ] || exit 1
        reason='it could not be compiled, see above'
    }
fi
if [ -n "$reason" ]; then
    echo "core: plain Python, about a fifth slower ($reason)"
    POSTREEVE_COMPILE=0 "$work/venv/bin/python" -m hatchling build -t wheel -d "$work/out" >"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        exit 1
    }
fi
mkdir -p "$out"
rm -f "$out"/postreeve-*.whl
mv "$work"/out/*.whl "$out"
