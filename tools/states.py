"""Draws docs/smtp-states.md from the table state × command.

python tools/states.py            write docs/smtp-states.md
python tools/states.py --check    exit 1 when it is not what would be written
"""

import argparse
import sys
from pathlib import Path

from postreeve.smtp import order

PAGE = Path(__file__).resolve().parent.parent / "docs" / "smtp-states.md"


def render() -> str:
    """The page: the diagram, then the table."""
    return f"""# The states of an SMTP conversation

Drawn from `src/postreeve/smtp/order.py` by `python tools/states.py`; the theory stands there. A command that leaves
the state as it is has no arrow.

```mermaid
{order.draw()}
```

What each command does in each state that reads commands: the state that follows in bold, "·" where it stays the same,
or the reply that refuses it. Which commands need TLS or authentication first depends on the listener and is asked
before.

{order.tabulate()}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw docs/smtp-states.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is not up to date")
    if parser.parse_args().check:
        is_current = PAGE.exists() and PAGE.read_text("utf-8") == render()
        if not is_current:
            print("docs/smtp-states.md is not up to date: python tools/states.py", file=sys.stderr)
        return 0 if is_current else 1
    PAGE.write_text(render(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
