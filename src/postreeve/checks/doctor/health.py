"""How the server does: queue, logins, disk, clock, resolver, and files that must be private."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postreeve.checks.doctor.check import Check, Seen, span
from postreeve.checks.finding import Level
from postreeve.checks.machine import Disk, Machine
from postreeve.checks.path import DialOutcome

OLD_SECONDS: Final = 4 * 3_600.0
"""Mail that is this old has a sender who was warned: somebody should look."""
_MANY_FAILED_LOGINS: Final = 20
_CLOCK_SECONDS: Final = 30.0
_MEBIBYTE: Final = 1_048_576


def complains(machine: Machine) -> Iterator[Seen]:
    """The running server says so itself."""
    for problem in machine.problems:
        yield Seen("", (problem,), "postreeve status   # and: journalctl -u postreeve -n 100")


def queue_old(machine: Machine) -> Iterator[Seen]:
    """Mail waits for long: where to, and why."""
    queue = machine.queue
    if queue is None or queue.problem or queue.oldest_seconds < OLD_SECONDS:
        return
    because = [f"{queue.messages:,} messages wait, the oldest for {span(queue.oldest_seconds)}"]
    because += [f"{count:,} × {reason}" for reason, count in queue.reasons[:3]]
    because += [f"{count:,} recipients for {name}" for name, count in queue.destinations[:3]]
    worst = next((name for name, _ in queue.destinations), "")
    fix = f"postreeve queue list --destination {worst}" if worst else "postreeve queue list"
    yield Seen("queue", tuple(because), fix + "   # postreeve explain 'REASON' says what a reason means")


def queue_unreadable(machine: Machine) -> Iterator[Seen]:
    """The queue's files cannot be read."""
    if machine.queue is not None and machine.queue.problem:
        yield Seen(machine.data_dir, (machine.queue.problem,), "run doctor as root or as the server's user")


def quarantined(machine: Machine) -> Iterator[Seen]:
    """Damaged records were set aside."""
    if machine.queue is not None and machine.queue.quarantined:
        yield Seen(
            machine.data_dir,
            (f"{machine.queue.quarantined} damaged records were set aside",),
            "check the disk (smartctl -a, dmesg) and see docs/operating.md, damaged records",
        )


def guessing(machine: Machine) -> Iterator[Seen]:
    """Many logins fail: somebody guesses, or an application has an old password."""
    failed, good = machine.logins_failed, machine.logins_succeeded
    if failed >= _MANY_FAILED_LOGINS and failed > good:
        yield Seen(
            "logins",
            (f"{failed:,} logins failed and {good:,} succeeded since the start",),
            "journalctl -u postreeve | grep authentication_failed   # who, and with which account?",
        )


def misplaced(machine: Machine) -> Iterator[Seen]:
    """Credentials were tried where none belong."""
    if machine.misplaced_credentials:
        yield Seen(
            "logins",
            (f"{machine.misplaced_credentials:,} times since the start",),
            "journalctl -u postreeve | grep credentials_misplaced   # a client with the wrong port, or an intruder",
        )


def _room(disk: Disk) -> str:
    free, floor = disk.free_octets // _MEBIBYTE, disk.floor_octets // _MEBIBYTE
    return f"{free:,} MiB free; below {floor:,} MiB new mail waits"


def disk_full(machine: Machine) -> Iterator[Seen]:
    """New mail is refused."""
    for disk in machine.disks:
        if disk.free_octets < disk.floor_octets:
            yield Seen(
                disk.path,
                (_room(disk),),
                f"df -h {disk.path}; make room   # queued mail still leaves",
            )


def disk_soon_full(machine: Machine) -> Iterator[Seen]:
    """Little above the floor, or few inodes."""
    for disk in machine.disks:
        if disk.floor_octets <= disk.free_octets < 2 * disk.floor_octets:
            yield Seen(disk.path, (_room(disk),), f"df -h {disk.path}")
        if disk.total_inodes and disk.free_inodes < disk.total_inodes * 0.02:
            yield Seen(disk.path, (f"{disk.free_inodes:,} of {disk.total_inodes:,} inodes free",), f"df -i {disk.path}")


def clock_wrong(machine: Machine) -> Iterator[Seen]:
    """Certificates, retries and signatures hang on the time."""
    clock = machine.clock
    if clock.offset_seconds is not None and abs(clock.offset_seconds) > _CLOCK_SECONDS:
        yield Seen(
            "clock",
            (f"{clock.source} says it is {clock.offset_seconds:+.0f} s from ours",),
            "timedatectl set-ntp true",
        )


def clock_free(machine: Machine) -> Iterator[Seen]:
    """Nothing keeps the clock right."""
    if machine.clock.is_synchronised is False:
        yield Seen("clock", ("the kernel says that nothing synchronises it",), "timedatectl set-ntp true")


def resolver_dead(machine: Machine) -> Iterator[Seen]:
    """Name servers that do not answer."""
    for lookup in machine.resolver:
        if lookup.failure:
            who = lookup.server or "the system's resolver"
            yield Seen(
                who,
                (f"{lookup.kind} {lookup.name}: {lookup.failure}",),
                f"dig @{lookup.server} . NS" if lookup.server else "resolvectl status; cat /etc/resolv.conf",
            )


def readable_secret(machine: Machine) -> Iterator[Seen]:
    """A key or password that others on this machine can read."""
    for one in machine.permissions:
        if not one.problem and one.mode & 0o7777 & ~one.wanted_mode:
            yield Seen(
                one.path,
                (f"mode {one.mode & 0o7777:04o}, owner {one.owner}; {one.wanted_mode:04o} is enough",),
                f"chmod {one.wanted_mode:04o} {one.path}",
            )


def outside(machine: Machine) -> Iterator[Seen]:
    """Open from here is not open from there."""
    for one in machine.outside:
        is_relay = any(wanted.port == one.port and wanted.role == "relay" for wanted in machine.wanted)
        if one.certificate_problem and not one.problem and not is_relay:
            yield Seen(
                f"port {one.port} at {one.address}",
                (f"seen from outside: {one.certificate_problem}",),
                "use a certificate of a public authority for this name: clients elsewhere refuse this one",
            )
        if one.problem or one.outcome != DialOutcome.OPEN.value:
            yield Seen(
                f"port {one.port} at {one.address}",
                (f"seen from outside: {one.problem or one.outcome}",),
                f"let TCP port {one.port} in: this machine's firewall, then the provider's (security group)",
            )


CHECKS: Final = (
    Check("server-complains", Level.ERROR, "The server says that it is not well", "What its workers say.", complains),
    Check("queue-old", Level.WARNING, "Mail waits for long", "Age, reasons and destinations of what waits.", queue_old),
    Check("queue-unreadable", Level.WARNING, "The queue cannot be read", "The queue's files.", queue_unreadable),
    Check("queue-damaged", Level.ERROR, "Damaged records in the queue", "Records that were set aside.", quarantined),
    Check("logins-failing", Level.WARNING, "Many logins fail", "Counts since the start.", guessing),
    Check(
        "credentials-misplaced",
        Level.WARNING,
        "Passwords were tried where none belong",
        "Counts since the start.",
        misplaced,
    ),
    Check("disk-full", Level.ERROR, "No room: new mail is refused", "Free space against queue.min_free.", disk_full),
    Check("disk-low", Level.WARNING, "Little room is left", "Free space and inodes.", disk_soon_full),
    Check("clock-wrong", Level.ERROR, "The clock is wrong", "The time of others against ours.", clock_wrong),
    Check("clock-unsynchronised", Level.NOTE, "Nothing keeps the clock right", "The kernel's word.", clock_free),
    Check("resolver-dead", Level.ERROR, "A name server does not answer", "One question to each.", resolver_dead),
    Check(
        "secret-readable",
        Level.WARNING,
        "A key or password can be read by others",
        "Mode of the files that the configuration names, and of the data directory.",
        readable_secret,
    ),
    Check(
        "closed-from-outside",
        Level.ERROR,
        "A port cannot be reached from outside",
        "What a second postreeve saw (`--outside`).",
        outside,
    ),
)
