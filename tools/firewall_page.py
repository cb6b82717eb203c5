"""Draws docs/firewall-audit.md from the catalogue of checks.

python tools/firewall_page.py            write docs/firewall-audit.md
python tools/firewall_page.py --check    exit 1 when it is not what would be written
"""

import argparse
import sys
from pathlib import Path

from postreeve.checks.firewall.checklist import CHECKS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "firewall-audit.md"


def render() -> str:
    """The page: what is looked at, check by check."""
    rows = "\n".join(f"| `{check.id}` | {check.level.value} | {check.title} | {check.about} |" for check in CHECKS)
    return f"""# What the audit of the firewall looks at

Drawn from `src/postreeve/checks/firewall/` by `make docs`; not edited by hand. `postreeve firewall audit` reads the
rules in force (or files of rules, told by their content), holds them against the configuration and against who
listens, and says what is wrong, the worst first: the rule quoted, why, and the command that mends it, in the words of
whoever looks after the rules (ufw, firewalld, nftables, iptables, a cloud). It changes nothing.

An **error** means that mail fails, or is open to abuse, now; a **warning** that it will, or does for some; a **note**
need not be acted on. The ids never change: scripts may rely on them. IPv4 and IPv6 are judged apart. A rule that
cannot be understood never counts as open or as closed: `FW028` names it.

| id | level | finding | looked at |
|---|---|---|---|
{rows}

What could not be looked at (no configuration, no rights, a family without its file) is said at the end and never
counts as fine. "Everybody" are the addresses that are used on the Internet: rules that drop private and reserved ones
are no mistake, and neither are block lists, as long as nine of ten addresses get through.
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
