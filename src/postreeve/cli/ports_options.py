"""The options of `postreeve ports`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from postreeve.ports.known_good import VARIABLE

Host = Annotated[
    str | None, typer.Argument(metavar="HOST", help="A submission host or MX: name, address, or host:port.")
]
FromHere = Annotated[
    bool | None,
    typer.Option(
        "--from-here/--not-from-here",
        help="Test which ports lead out of this network, with patience; or do not. Default: a quick try without HOST, "
        "and with it only where something does not answer.",
    ),
]
App = Annotated[
    str,
    typer.Option(
        "--app",
        metavar="KIND",
        help='For this program: its limits count and its settings are printed; "server" is a mail server that relays '
        "to an MX. Kinds: those of `postreeve snippet`.",
    ),
]
Ports = Annotated[
    list[int] | None,
    typer.Option(
        "--port", min=1, max=65_535, help="Measure this port; may be repeated. Default: the usual and the provider's."
    ),
]
Four = Annotated[bool, typer.Option("-4", "--ipv4", help="IPv4 only.")]
Six = Annotated[bool, typer.Option("-6", "--ipv6", help="IPv6 only.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.2, max=60, help="For each step, such as a connect.")
]
Good = Annotated[
    list[str] | None,
    typer.Option(
        "--known-good",
        metavar="HOST:PORT",
        help=f'A server that is known to answer; may be repeated; "none" for none. Default: ${VARIABLE}, or ours.',
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="Trust these authorities (PEM) instead of the system's."),
]
Hello = Annotated[str, typer.Option("--hello", metavar="NAME", help="The name in EHLO. Default: this machine's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
