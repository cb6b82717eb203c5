"""Draws docs/lint.md from the rules and the kinds.

python tools/lint_page.py            write docs/lint.md
python tools/lint_page.py --check    exit 1 when it is not what would be written
"""

import argparse
import sys
from pathlib import Path

from postreeve.checks.settings.rule import RULES
from postreeve.clientconfig.kind import KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "lint.md"


def render() -> str:
    """The page: how to run it, the rules, the kinds."""
    rules = "\n".join(
        f"| `{rule.id}` | {rule.level.value} | {rule.title} | {rule.why} | {'yes' if rule.is_fixable else ''} |"
        for rule in RULES
    )
    kinds = "\n".join(
        f"| `{kind.name}` | {kind.title} | {', '.join(sorted(mode.value for mode in kind.modes))} |"
        for kind in sorted(KINDS, key=lambda kind: kind.name)
    )
    return f"""# Checking the mail settings of other programs

Drawn from `src/postreeve/checks/settings/rule.py` and `src/postreeve/clientconfig/kind/` by
`python tools/lint_page.py`.

    postreeve lint .env config/
    postreeve lint --fix settings.py
    postreeve lint --probe production.rb

`postreeve lint` reads the files of programs that send mail and never executes any of them. Directories are walked
without `.git`, `node_modules`, `vendor`, build output, binaries and files above 1 MiB. Each finding names file and
line, says why, and what to write; a diff shows the corrected lines, passwords masked. `--fix` writes them in one step,
keeps mode, line ends and everything else as it is, and leaves the file as it was beside it as `FILE~`. `--probe`
connects to each server that the files name, logs in once with the user and password that stand there, and gives the
verdict of `postreeve probe`.

Exit status: 0 nothing of level error or warning is left, 1 something is, 2 wrong usage.

## The rules

| id | level | finding | why | `--fix` |
|---|---|---|---|---|
{rules}

`tls-opportunistic` is a note where the library has no way to insist on STARTTLS. This machine and names without a dot
(containers, test sinks) may be spoken to without TLS. A password is none where it is empty, a variable, an encrypted
value or a word like `changeme`; environment files, `*.local` files and a server's own configuration may hold secrets,
source files, manifests and examples may not.

## The kinds

`postreeve snippet KIND` prints correct settings for each of them.

| kind | files | TLS modes that it can do |
|---|---|---|
{kinds}

## On every commit

With [pre-commit](https://pre-commit.com/), in `.pre-commit-config.yaml`, `repo` being where you have postreeve from:

```yaml
repos:
  - repo: https://git.example.com/postreeve
    rev: v0.1.0
    hooks:
      - id: postreeve-lint
```

## On a code host

`--sarif` prints SARIF 2.1.0. Hosts that read it show the findings beside the lines; upload the file whatever the exit
status is:

```sh
postreeve lint --sarif . > postreeve.sarif
```

`--json` prints everything that was read and found, without passwords.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw docs/lint.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is not up to date")
    if parser.parse_args().check:
        is_current = PAGE.exists() and PAGE.read_text("utf-8") == render()
        if not is_current:
            print("docs/lint.md is not up to date: python tools/lint_page.py", file=sys.stderr)
        return 0 if is_current else 1
    PAGE.write_text(render(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
