"""Draws docs/doctor.md from the catalogue of checks.

python tools/doctor_page.py            write docs/doctor.md
python tools/doctor_page.py --check    exit 1 when it is not what would be written
"""

import argparse
import sys
from pathlib import Path

from postreeve.checks.doctor.catalogue import CHECKS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "doctor.md"


def render() -> str:
    """The page: what is looked at, check by check."""
    rows = "\n".join(f"| `{check.id}` | {check.level.value} | {check.title} | {check.about} |" for check in CHECKS)
    return f"""# What the doctor looks at

Drawn from `src/postreeve/checks/doctor/` by `make docs`; not edited by hand. How to use it is told in
[troubleshooting.md](troubleshooting.md#doctor-your-own-server).

An **error** means that mail fails, or is open to abuse, now; a **warning** that it will, or does for some; a **note**
need not be acted on. The ids never change: scripts may rely on them.

| id | level | finding | looked at |
|---|---|---|---|
{rows}

What could not be looked at (other users' processes and the firewall's counters without root, block lists behind a
public resolver, ports from outside without a probe-server) is said at the end and never counts as fine.
"""


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    wanted = render()
    if parser.parse_args().check:
        is_fresh = PAGE.exists() and PAGE.read_text("utf-8") == wanted
        if not is_fresh:
            print(f"{PAGE.name} is not fresh: run `make docs`", file=sys.stderr)
        return 0 if is_fresh else 1
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
