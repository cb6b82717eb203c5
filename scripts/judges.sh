#!/bin/sh
# An environment of its own for the judges of the firewall's renderers: libraries of the clouds and schemas of their
# notations, which nothing else needs. The tests that ask them skip where it is missing.
#
# usage: POSTREEVE_JUDGES=1 scripts/judges.sh    make .venv-judges; POSTREEVE_REQUIRE_PEERS=1 does the same
set -eu
cd "$(dirname "$0")/.."
place=.venv-judges
lock=requirements/judges.txt

if [ "${POSTREEVE_JUDGES:-}" != 1 ] && [ "${POSTREEVE_REQUIRE_PEERS:-}" != 1 ]; then
    exit 0
fi
if [ -e $place/.done ] && ! [ $lock -nt $place/.done ]; then
    exit 0
fi
echo "installing the judges of the firewall's renderers into $place"
"${PYTHON:-python3}" -m venv --clear $place
$place/bin/python -m pip --disable-pip-version-check --no-input --quiet install --no-compile --require-hashes -r $lock
touch $place/.done
