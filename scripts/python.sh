#!/bin/sh
# Says in one line what this machine lacks to make the environment, with the command that installs it.
set -eu
python=$1
venv=$2

# An environment whose interpreter was upgraded or removed is of no use; better to say so than to fail in pip.
if [ -e "$venv/bin/python" ] || [ -L "$venv/bin/python" ]; then
    "$venv/bin/python" -c '' 2>/dev/null && exit 0
    echo "$venv was made by an interpreter that no longer runs. Remove it and try again: rm -rf $venv" >&2
    exit 1
fi

command -v "$python" >/dev/null 2>&1 || {
    echo "$python is missing. On Debian and Ubuntu: apt-get install python3 python3-venv" >&2
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$("$python" --version) is too old: postreeve needs Python 3.11 or later." >&2
    echo "Debian 12 and Ubuntu 24.04 have it: apt-get install python3 python3-venv. Another one: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    package=python3-venv
    [ "$python" = python3 ] || package="$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    echo "$python cannot make environments: its venv module is a package of its own. On Debian and Ubuntu: apt-get install $package" >&2
    exit 1
}
