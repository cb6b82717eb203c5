#!/bin/sh
# Says whether this machine can compile extension modules for the given Python: exit status 0, or 1 with what is missing.
set -eu
lacking=$("$1" - <<'PY'
import shutil, sysconfig
from pathlib import Path
if not shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]):
    print("a C compiler")
elif not (Path(sysconfig.get_path("include")) / "Python.h").exists():
    print("Python.h")
PY
)
[ -n "$lacking" ] || exit 0
echo "$lacking is missing; on Debian and Ubuntu: apt-get install gcc libc6-dev python3-dev"
exit 1
