"""`postreeve probe`: why mail does not flow to a server, in one verdict; exit status by the stage that failed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import typer

from postreeve.checks.document import dump_facts, load_facts, to_document
from postreeve.checks.facts import Facts
from postreeve.checks.judge import judge
from postreeve.checks.stage import EXIT_CODES
from postreeve.cli import probe_options as options
from postreeve.cli.probe_print import print_judgement
from postreeve.cli.refusal import Refused
from postreeve.mail.error import PostreeveError
from postreeve.probes.script import Login
from postreeve.probes.target import NoTarget, Target, parse_target
from postreeve.probes.walk import walk

_MAX_FACTS = 16 * 1024 * 1024


def probe(
    target: options.TargetArgument = None,
    user: options.User = "",
    password_file: options.PasswordFile = None,
    password_env: options.PasswordEnv = "",
    password_stdin: options.PasswordStdin = False,
    mechanism: options.Mechanism = [],  # noqa: B006
    mail_from: options.MailFrom = None,
    to: options.To = "",
    send: options.Send = False,
    size: options.Size = 0,
    tls: options.Tls = "auto",
    port: options.Port = None,
    source: options.Source = [],  # noqa: B006
    four: options.Four = False,
    six: options.Six = False,
    all_addresses: options.All = False,
    role: options.As = None,
    stop_after: options.Stop = options.Until.RCPT,
    timeout: options.Timeout = 10.0,
    hello: options.Hello = "",
    known_good: options.Good = [],  # noqa: B006
    resolver: options.Resolver = [],  # noqa: B006
    ca_file: options.CaFile = None,
    quiet_network: options.Offline = False,
    transcript: options.Transcript = False,
    save: options.Save = None,
    facts_file: options.FactsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Find out why mail does not flow to a server: one cause with evidence and fix, then the details.

    At most three connections to an address and port, one at a time; DATA only with --send. Exit status: 0 nothing is
    wrong, 1 the probe could not be made, 2 wrong usage, else the stage that failed: 10 dns, 20 tcp, 30 banner,
    40 ehlo, 50 tls, 60 cert, 70 auth, 80 mail, 90 rcpt, 100 data, 110 proto, 120 client.
    """
    if four and six:
        raise typer.BadParameter("--ipv4 and --ipv6 exclude each other")
    family = {(True, False): 4, (False, True): 6}.get((four, six))
    given = options.Given(
        user, password_file, password_env, password_stdin, tuple(mechanism), mail_from, to, send, size, tuple(source),
        family, tls, port, all_addresses, role, stop_after, timeout, hello, tuple(known_good), tuple(resolver), ca_file,
        quiet_network,
    )  # fmt: skip
    try:
        facts = _read(facts_file) if facts_file is not None else _gather(target, given)
    except (NoTarget, _NotThere) as problem:
        sys.stderr.write(f"postreeve: {problem}\n")
        raise typer.Exit(2) from None
    if save is not None:
        _save(save, facts)
    judgement = judge(facts)
    if as_json:
        sys.stdout.write(json.dumps({**to_document(judgement), "facts": to_document(facts)}, indent=2) + "\n")
    else:
        print_judgement(facts, judgement, with_transcript=transcript)
    raise typer.Exit(EXIT_CODES[judgement.verdict.stage])


class _NotThere(PostreeveError):
    """A file that was named holds no facts: wrong usage."""


def _read(path: Path) -> Facts:
    try:
        with path.open("rb") as file:
            return load_facts(file.read(_MAX_FACTS + 1))
    except OSError as problem:
        raise _NotThere(f"{path} cannot be read: {problem.strerror}") from None
    except PostreeveError as problem:
        raise _NotThere(f"{path}: {problem}") from None


def _gather(text: str | None, given: options.Given) -> Facts:
    if text is None:
        raise NoTarget("nothing to probe: name a host, host:port, mail domain, submission:DOMAIN or a settings file")
    target, stored = _find(text)
    request = options.make_request(given, target, stored)
    progress = _Progress(sys.stderr.isatty())
    try:
        return asyncio.run(walk(target, request, now=time.time(), progress=progress.show))
    finally:
        progress.clear()


def _find(text: str) -> tuple[Target, Login | None]:
    """A file where there is one, a host or domain otherwise."""
    path = Path(text)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        if "://" not in text and ("/" in text or text.startswith(".")):
            raise NoTarget(f"{text[:200]!r} is neither a file that is there nor a host name")
        return parse_target(text), None
    from postreeve.probes.settings_file import read_settings

    found = read_settings(path)
    if len(found) > 1:
        names = ", ".join(f"{target.name} (line {target.text.rpartition(':')[2]})" for target, _ in found[1:6])
        sys.stderr.write(f"postreeve: {path} names several servers; this is the first, there are also {names}\n")
    return found[0]


def _save(path: Path, facts: Facts) -> None:
    try:
        path.write_text(dump_facts(facts), encoding="utf-8")
    except OSError as problem:
        raise Refused(f"{path} cannot be written: {problem.strerror}") from None


class _Progress:
    """One line at a terminal that says what is being done."""

    def __init__(self, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._began = time.monotonic()

    def show(self, words: str) -> None:
        """Replace the line, unless everything goes so fast that nobody need wait."""
        if self._is_shown and time.monotonic() - self._began > 0.5:
            sys.stderr.write(f"\r\x1b[K{words[:78]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
