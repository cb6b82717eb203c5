"""The command line: thin commands, each imported only when it is used.

Exit codes: 0 = fine, 1 = found a problem or refused, 2 = wrong usage. Start reading at `COMMANDS`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from postreeve import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

# One line per command: the module that holds it, and a function (one command) or a typer.Typer (a group) in it.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("postreeve.cli.serve", "serve"),
    "quickstart": ("postreeve.cli.quickstart", "quickstart"),
    "config": ("postreeve.cli.config", "app"),
    "queue": ("postreeve.cli.queue", "app"),
    "user": ("postreeve.cli.user", "app"),
    "send": ("postreeve.cli.send", "send"),
    "status": ("postreeve.cli.status", "status"),
    "probe": ("postreeve.cli.probe", "probe"),
    "ports": ("postreeve.cli.ports", "ports"),
    "doctor": ("postreeve.cli.doctor", "doctor"),
    "explain": ("postreeve.cli.explain", "explain"),
    "explain-log": ("postreeve.cli.explain_log", "explain_log"),
    "firewall": ("postreeve.cli.firewall", "app"),
    "probe-server": ("postreeve.cli.probe_server", "probe_server"),
    "lint": ("postreeve.cli.lint", "lint"),
    "snippet": ("postreeve.cli.snippet", "snippet"),
}


def main() -> int:
    """The program. Returns the exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"], ["version"]):
        # Before anything heavy is imported: scripts ask this often.
        sys.stdout.write(f"postreeve {__version__}\n")
        return 0
    if sorted(arguments) == ["--verbose", "--version"]:
        from postreeve.app.build import describe_core

        sys.stdout.write(f"postreeve {__version__}\ncore: {describe_core()}\nPython {sys.version.split()[0]}\n")
        return 0
    if arguments[:1] == ["explain"]:
        # People pipe error texts into it; the command-line library would take most of the time.
        from postreeve.cli.explain_answer import quickly

        code = _guard(lambda: quickly(arguments[1:]))
        if code is not None:
            return code
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    chosen = [command] if command in COMMANDS else list(COMMANDS)
    return _run(_program(chosen), arguments)


def _program(names: list[str]) -> typer.Typer:
    """A program with only these commands: what is not used is not imported."""
    from importlib import import_module

    import typer

    program = typer.Typer(
        name="postreeve",
        help="A mail server: three ports, one durable queue, delivery.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @program.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", "-V", help="Print the version; with --verbose, also whether the core is compiled."
        ),
    ) -> None:
        if version:
            sys.stdout.write(f"postreeve {__version__}\n")
            raise typer.Exit(0)

    for name in names:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            program.add_typer(command, name=name)
        else:
            program.command(name)(command)
    return program


def _run(program: typer.Typer, arguments: list[str]) -> int:
    return _guard(lambda: program(args=arguments, prog_name="postreeve")) or 0


def _guard(act: Callable[[], int | None]) -> int | None:
    """What `act` returns, or the exit code for how it failed, with one line that says so."""
    from postreeve.mail.error import PostreeveError

    try:
        return act()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except PostreeveError as problem:
        sys.stderr.write(f"postreeve: {problem}\n")
        return 1
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain about it at exit.
        sys.stdout = None
        return 1
    except OSError as problem:
        sys.stderr.write(f"postreeve: {problem.filename or 'error'}: {problem.strerror}\n")
        return 1
    except KeyboardInterrupt:
        return 130
