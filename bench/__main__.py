"""postreeve beside Postfix, in turns.

python -m bench [--rounds N] [--messages N] [--only KEY …] [--json FILE] [--python FILE | --plain]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import footprint
from bench import server as subject
from bench.certificate import make_certificate
from bench.load import SinkCount, sink, smtp_source, tls_source
from bench.postfix import is_installed, postfix
from bench.process import BenchFailed
from bench.server import postreeve

FAST_FACTOR = 5
"""How many more messages postreeve gets than Postfix, so that both run for some seconds."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server under test listens."""

    relay: int
    submissions: int


Load = Callable[[Ports, SinkCount, int], float]


def _accept(ports: Ports, _count: SinkCount, messages: int) -> float:
    return smtp_source(ports.relay, messages, keep=True)


def _accept_new_connection(ports: Ports, _count: SinkCount, messages: int) -> float:
    return smtp_source(ports.relay, messages, keep=False)


def _submission_tls(ports: Ports, _count: SinkCount, messages: int) -> float:
    return tls_source(ports.submissions, messages, per_connection=messages)


def _submission_tls_new_connection(ports: Ports, _count: SinkCount, messages: int) -> float:
    return tls_source(ports.submissions, messages, per_connection=1)


def _relay(ports: Ports, count: SinkCount, messages: int) -> float:
    before = count.messages()
    started = time.perf_counter()
    smtp_source(ports.relay, messages, keep=True)
    while count.messages() - before < messages:
        if time.perf_counter() - started > 300:
            raise BenchFailed(f"only {count.messages() - before} of {messages} messages arrived at the sink")
        time.sleep(0.02)
    return time.perf_counter() - started


CASES: dict[str, tuple[Load, bool, float]] = {
    "accept": (_accept, True, 1.0),
    "relay": (_relay, False, 1.0),
    "accept_new_connection": (_accept_new_connection, True, 1.0),
    "submission_tls": (_submission_tls, True, 0.5),
    "submission_tls_new_connection": (_submission_tls_new_connection, True, 0.2),
}
"""Key → load, whether mail is held instead of sent on, and the share of --messages that it takes."""


def _measure(base: Path, key: str, server: str, messages: int, tls: tuple[Path, Path]) -> float:
    load, hold, share = CASES[key]
    amount = max(40, round(messages * share) // 20 * 20)
    base.mkdir()
    with sink(base) as (sink_port, count):
        if server == "postfix":
            with postfix(base / server, sink_port, hold, *tls) as running:
                ports = Ports(running.relay_port, running.submissions_port)
                load(ports, count, amount // 10)
                return amount / load(ports, count, amount)
        with postreeve(base / server, sink_port, hold, *tls) as own:
            ports = Ports(own.relay_port, own.submissions_port)
            load(ports, count, amount // 10)
            return amount * FAST_FACTOR / load(ports, count, amount * FAST_FACTOR)


def _compare(
    base: Path, keys: list[str], rounds: int, messages: int, servers: list[str]
) -> dict[str, dict[str, float]]:
    tls = make_certificate(base)
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for key in keys:
            for server in servers if number % 2 == 0 else servers[::-1]:
                rate = _measure(base / f"{number}-{key}-{server}", key, server, messages, tls)
                rates.setdefault((key, server), []).append(rate)
                print(f"round {number + 1} of {rounds}  {key:30} {server:10} {rate:8.0f} messages/s", flush=True)
    result: dict[str, dict[str, float]] = {}
    for key in keys:
        medians = {server: statistics.median(rates[key, server]) for server in servers}
        result[key] = {server: round(rate, 1) for server, rate in medians.items()}
        if len(servers) == 2:
            ratios = [a / b for a, b in zip(rates[key, "postreeve"], rates[key, "postfix"], strict=True)]
            result[key]["ratio"] = round(statistics.median(ratios), 2)
    return result


def _print(result: dict[str, dict[str, float]]) -> None:
    print(f"\n{'4-KB messages, 20 sessions':32}{'postreeve':>12}{'postfix':>10}{'ratio':>8}   medians, messages/s")
    for key, row in result.items():
        print(f"{key:32}{row.get('postreeve', 0):12.0f}{row.get('postfix', 0):10.0f}{row.get('ratio', 0):8.2f}")


def main() -> int:
    """Run what was asked for; exit status 0, or 2 where a peer is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4000, help="for Postfix; postreeve gets five times as many")
    parser.add_argument("--only", nargs="+", choices=[*CASES, *footprint.CASES], metavar="KEY")
    parser.add_argument("--server", choices=["postreeve", "postfix"], help="only this one")
    parser.add_argument("--json", type=Path, metavar="FILE")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--python", metavar="FILE", help="of the environment whose postreeve is measured")
    which.add_argument("--plain", action="store_true", help="postreeve as it is here, not compiled; the default")
    options = parser.parse_args()
    subject.interpreter = options.python or subject.interpreter
    if not is_installed():
        print("needs Debian's postfix and dovecot-core: apt-get install postfix dovecot-core", file=sys.stderr)
        return 2
    print(subject.describe(), flush=True)
    wanted = options.only or [*CASES, *footprint.CASES]
    servers = [options.server] if options.server else ["postreeve", "postfix"]
    report: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="postreeve-bench-") as directory:
        base = Path(directory)
        base.chmod(0o755)
        keys = [key for key in wanted if key in CASES]
        result = _compare(base, keys, options.rounds, options.messages, servers)
        if result:
            _print(result)
        report |= result
        for key in (key for key in wanted if key in footprint.CASES):
            report[key] = footprint.CASES[key](base / key)
            print(f"{key}: {json.dumps(report[key])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
