"""What the program has that docs/ must describe: commands, events, metrics; and the pages that are drawn from them.

python tools/reference.py            write docs/commands.md, docs/events.md and docs/metrics.md
python tools/reference.py --check    exit 1 when they are not what would be written
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "postreeve"
METRIC = re.compile(r"postreeve_[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or an option of a command; `names` as they are typed."""

    names: tuple[str, ...]
    is_option: bool
    is_required: bool
    text: str
    default: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command with its full name, such as `postreeve queue list`."""

    name: str
    text: str
    parameters: tuple[Parameter, ...]

    def list_words(self) -> list[str]:
        """What a description must mention."""
        return [name for parameter in self.parameters for name in parameter.names]


def _read_default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or default == () or callable(default):
        return ""
    return "yes" if default is True else str(getattr(default, "value", default))


def _read_parameter(parameter: Any) -> Parameter:
    is_option = parameter.param_type_name == "option"
    names = (*parameter.opts, *parameter.secondary_opts) if is_option else (parameter.name.upper(),)
    if not is_option and parameter.metavar:
        names = (parameter.metavar.strip("[]."),)
    text = getattr(parameter, "help", None) or ""
    return Parameter(tuple(names), is_option, parameter.required, " ".join(text.split()), _read_default(parameter))


def _walk(command: Any, name: str) -> list[Command]:
    if command.hidden:
        return []
    children = getattr(command, "commands", None)
    if children:
        return [found for key, child in children.items() for found in _walk(child, f"{name} {key}")]
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    parameters = tuple(_read_parameter(parameter) for parameter in shown if parameter.name != "help")
    return [Command(name, inspect.cleandoc(command.help or ""), parameters)]


def list_commands(app: Any = None) -> list[Command]:
    """Every command that is not hidden, in the order of the program's own help."""
    import typer.main

    if app is None:
        cli: Any = importlib.import_module("postreeve.cli")
        app = cli._program(list(cli.COMMANDS))
    return _walk(typer.main.get_command(app), "postreeve")


def list_events() -> list[type]:
    """Every event, in the order of the module."""
    from postreeve.telemetry import event

    kinds = [kind for _, kind in inspect.getmembers(event, inspect.isclass) if kind.__module__ == event.__name__]
    return sorted(filter(dataclasses.is_dataclass, kinds), key=lambda kind: inspect.getsourcelines(kind)[1])


def list_metrics() -> set[str]:
    """The name of every metric: the strings in the code that are one."""
    return {
        node.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and METRIC.fullmatch(node.value)
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def draw_commands(commands: list[Command] | None = None) -> str:
    """docs/commands.md."""
    lines = [
        "# Commands",
        "",
        "Drawn by `make docs` from the program's own help; not edited by hand. Exit status: 0 fine, 1 a problem was",
        "found or something was refused, 2 wrong usage. Whatever reports has `--json`.",
        "",
    ]
    for command in list_commands() if commands is None else commands:
        arguments = [parameter for parameter in command.parameters if not parameter.is_option]
        usage = " ".join([command.name, *(("{}" if a.is_required else "[{}]").format(a.names[0]) for a in arguments)])
        has_options = len(arguments) < len(command.parameters)
        lines += [f"## {command.name}", "", f"    {usage}{' [OPTIONS]' if has_options else ''}", "", command.text, ""]
        if command.parameters:
            lines += ["| | |", "|---|---|"]
            for parameter in command.parameters:
                default = f" (default: {parameter.default})" if parameter.default else ""
                names = ", ".join(f"`{name}`" for name in parameter.names)
                lines.append(f"| {names} | {_cell(parameter.text + default)} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def draw_events() -> str:
    """docs/events.md."""
    lines = [
        "# Events",
        "",
        "One event for each thing that happened; each is one log line whose keys are the fields named here. No event",
        "carries content or credentials. Drawn by `make docs` from the code; not edited by hand.",
        "",
    ]
    for event in list_events():
        lines += [f"## {event.__name__}", "", inspect.cleandoc(event.__doc__ or ""), ""]
        lines += ["| field | type |", "|---|---|"]
        lines += [f"| `{field.name}` | {_cell(str(field.type))} |" for field in dataclasses.fields(event)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def draw_metrics() -> str:
    """docs/metrics.md."""
    from postreeve.telemetry.family import FAMILIES

    lines = [
        "# Metrics",
        "",
        "Every metric of the Prometheus endpoint, summed over the workers. Drawn by `make docs` from the code; not",
        "edited by hand. Labels that peers could choose are bounded: past 500 series of one metric the rest count as",
        "`other`.",
        "",
        "A worker that ends leaves its counters and histograms to the others: the supervisor keeps what it last heard",
        "of them, every 5 seconds. What was counted after that is lost with a worker that was killed. They begin at",
        "0 when the server starts. `postreeve_process_*` are of each worker by itself and begin anew with it.",
        "",
        "| metric | kind | labels | |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind.value} | {labels} | {_cell(family.text)} |")
    return "\n".join(lines) + "\n"


def draw_config() -> str:
    """docs/config.md."""
    from postreeve.config.reference import reference

    return reference()


PAGES = {
    "commands.md": draw_commands,
    "config.md": draw_config,
    "events.md": draw_events,
    "metrics.md": draw_metrics,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the pages of docs/ that the program itself knows.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is not up to date")
    check = parser.parse_args().check
    stale = []
    for name, draw in PAGES.items():
        path, text = ROOT / "docs" / name, draw()
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    for name in stale:
        print(f"docs/{name} is not up to date: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
