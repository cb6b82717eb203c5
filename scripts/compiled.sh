#!/bin/sh
# Makes or renews DIRECTORY, an environment with the compiled wheel and what is in requirements/dev.txt.
#
# usage: PYTHON=python3 scripts/compiled.sh DIRECTORY
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} venv=$1

# Compiling takes a minute: not again for sources that were compiled already.
stamp=$(find src tools/accelerate.py pyproject.toml requirements -type f ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort | cksum)
[ "$(cat "$venv/.compiled" 2>/dev/null)" != "$stamp" ] || exit 0

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
trap 'exit 130' INT TERM HUP
PYTHON=$python ACCELERATE=1 sh scripts/wheel.sh "$wheels"
[ -e "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }
pip install --require-hashes -r requirements/dev.txt
pip install --no-deps --force-reinstall "$wheels"/postreeve-*.whl
echo "$stamp" >"$venv/.compiled"
