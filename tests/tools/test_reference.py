"""The tool that lists what docs/ must describe."""

from enum import Enum
from typing import Annotated

import pytest
import typer

from tools import reference


class State(Enum):
    DUE = "due"
    HELD = "held"


@pytest.fixture
def commands() -> list[reference.Command]:
    app, queue = typer.Typer(), typer.Typer()
    app.add_typer(queue, name="queue")

    @queue.command("list")
    def list_queue(
        state: Annotated[State, typer.Option("--state", "-s", help="due | held")] = State.DUE,
        is_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List what waits."""

    @queue.command()
    def show(ident: Annotated[str, typer.Argument(metavar="ID", help="Which.")]) -> None:
        """Show one message."""

    @app.command(hidden=True)
    def worker() -> None:
        """Nobody types this."""

    return reference.list_commands(app)


def test_list_commands_names_all_that_are_shown(commands: list[reference.Command]) -> None:
    assert [(command.name, command.list_words()) for command in commands] == [
        ("postreeve queue list", ["--state", "-s", "--json"]),
        ("postreeve queue show", ["ID"]),
    ]


def test_draw_commands_describes_arguments_options_and_defaults(commands: list[reference.Command]) -> None:
    page = reference.draw_commands(commands)
    assert "## postreeve queue show\n\n    postreeve queue show ID\n\nShow one message.\n" in page
    assert "| `--state`, `-s` | due \\| held (default: due) |" in page
    assert "| `--json` | Print JSON. |" in page


def test_draw_events_has_every_field() -> None:
    page = reference.draw_events()
    assert "## MessageAccepted" in page
    assert "| `first_recipient` | str |" in page


def test_list_metrics_finds_names_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = tmp_path_factory.mktemp("src")
    (source / "metric.py").write_text('A = ("postreeve_messages_total", "see postreeve_messages_total", "postreeve")')
    monkeypatch.setattr(reference, "SOURCE", source)
    assert reference.list_metrics() == {"postreeve_messages_total"}
