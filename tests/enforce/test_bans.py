"""Bans: what the line lets through, who is never banned, and what the kernel does with it."""

import errno
import ipaddress
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from postreeve.enforce import nft, warden
from postreeve.enforce.bans import (
    MAX_LINE_OCTETS,
    MAX_WAITING,
    BanLine,
    Keeper,
    SshPeers,
    Wish,
    format_add,
    format_remove,
    may_be_banned,
    parse_line,
)
from postreeve.enforce.netlink import Entry, SetProblem, Sets
from postreeve.enforce.place import Place
from postreeve.firewall.render.nftables import render
from tests.enforce.orders import policy
from tests.lab.pair import ADMIN_4, CLIENT_4, CLIENT_6, HOST_4, HOST_6, Pair, is_alive, pair_or_skip
from tests.lab.waiting import until

ip = ipaddress.ip_address


@pytest.mark.parametrize(
    ("line", "wish", "entry"),
    [
        (b"add 192.0.2.1 3600", Wish.ADD, Entry(ip("192.0.2.1"), 3600)),
        (b"add 2001:db8::1 1", Wish.ADD, Entry(ip("2001:db8::1"), 1)),
        (b"add ::ffff:192.0.2.1 60", Wish.ADD, Entry(ip("192.0.2.1"), 60)),
        (b"remove 192.0.2.1", Wish.REMOVE, Entry(ip("192.0.2.1"), 0)),
    ],
    ids=["ipv4", "ipv6", "mapped", "remove"],
)
def test_parse_line_takes(line: bytes, wish: Wish, entry: Entry) -> None:
    assert parse_line(line) == (wish, entry)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"add",
        b"add 192.0.2.1",
        b"add 192.0.2.1 0",
        b"add 192.0.2.1 -1",
        b"add 192.0.2.1 9999999",
        b"add 192.0.2.1 3600 ",
        b"add  192.0.2.1 3600",
        b"ADD 192.0.2.1 3600",
        b"add 192.0.2.0/24 3600",
        b"add 192.0.2.256 3600",
        b"add 192.0.2.1 3600; flush ruleset",
        b"add fe80::1%eth0 3600",
        b"add 192.0.2.1 3600\0",
        b"add 192.0.2.1 3600\r",
        b"remove 192.0.2.1 3600",
        b"flush ruleset",
        b"add " + b"1" * 100 + b" 1",
        "add 192.0.2.١ 3600".encode(),
    ],
    ids=repr,
)
def test_parse_line_refuses(line: bytes) -> None:
    assert parse_line(line) is None


def test_lines_written_are_lines_read() -> None:
    for text in ("192.0.2.1", "2001:db8:1:2:3:4:5:6"):
        line = format_add(ip(text), 77)
        assert len(line) <= MAX_LINE_OCTETS
        assert parse_line(line[:-1]) == (Wish.ADD, Entry(ip(text), 77))
        assert parse_line(format_remove(ip(text))[:-1]) == (Wish.REMOVE, Entry(ip(text), 0))


PROTECTED = tuple(ipaddress.ip_network(one) for one in ("192.0.2.0/28", "2001:db8:9::5/128", "2001:db8:a::/48"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.15", False),
        ("192.0.2.16", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("224.0.0.1", False),
        ("2001:db8:9::77", False),
        ("2001:db8:9:1::77", True),
        ("2001:db8:a:5::1", False),
        ("2001:db8:b::1", True),
    ],
)
def test_may_be_banned_spares_what_is_protected(address: str, expected: bool) -> None:
    assert may_be_banned(ip(address), PROTECTED) is expected


class Written:
    """A set writer that refuses what it is told to."""

    def __init__(self, refused: dict[str, int] | None = None) -> None:
        self.refused = refused or {}
        self.calls: list[tuple[str, str, int]] = []
        self.there: dict[str, set[str]] = {"bans4": set(), "bans6": set()}

    def add(self, name: str, entries: Sequence[Entry]) -> None:
        self.calls.append(("add", name, len(entries)))
        for entry in entries:
            if str(entry.address) in self.refused:
                raise SetProblem(self.refused[str(entry.address)], "no")
        self.there[name] |= {str(entry.address) for entry in entries}

    def remove(self, name: str, entries: Sequence[Entry]) -> None:
        self.calls.append(("remove", name, len(entries)))
        self.there[name] -= {str(entry.address) for entry in entries}


def test_keeper_batches_and_keeps_the_last_wish() -> None:
    written = Written()
    keeper = Keeper(written)
    keeper.take(
        b"add 192.0.2.1 60\nadd 192.0.2.2 60\nadd 2001:db8::1 60\nremove 192.0.2.2\nadd 192.0.2.1 90\nadd 192.0.2.3"
    )
    keeper.write()
    assert written.calls == [("add", "bans4", 1), ("remove", "bans4", 1), ("add", "bans6", 1)]
    keeper.take(b" 60\n")
    keeper.write()
    assert written.there == {"bans4": {"192.0.2.1", "192.0.2.3"}, "bans6": {"2001:db8::1"}}


def test_keeper_skips_rubbish_to_the_next_line() -> None:
    written = Written()
    keeper = Keeper(written)
    for piece in (b"x" * 1000, b"y" * 1000, b" add 192.0.2.9 60\nadd 192.0.2.1 60\n", b"\n\xff\n"):
        keeper.take(piece)
    keeper.write()
    assert written.there["bans4"] == {"192.0.2.1"}
    assert keeper.counts.invalid == 3


def test_keeper_takes_any_octets() -> None:
    chance = random.Random(5)
    keeper = Keeper(Written())
    for _ in range(300):
        keeper.take(chance.randbytes(chance.randrange(200)) + chance.choice([b"\n", b"add ", b"add 192.0.2.1 5\n"]))
        keeper.write()
    assert keeper.counts.failed == 0


def test_keeper_is_full_at_its_bound() -> None:
    keeper = Keeper(Written())
    keeper.take(b"".join(format_add(ip(0x0A000000 + n), 60) for n in range(MAX_WAITING)))
    assert not keeper.has_room
    keeper.write()
    assert keeper.has_room
    assert keeper.counts.added == MAX_WAITING


@pytest.mark.parametrize(
    ("code", "added", "failed"), [(errno.EEXIST, 9, 0), (errno.ENOTEMPTY, 9, 0), (errno.EINVAL, 8, 1)]
)
def test_keeper_lets_no_refused_address_keep_out_the_others(code: int, added: int, failed: int) -> None:
    written = Written({"192.0.2.5": code})
    keeper = Keeper(written)
    keeper.take(b"".join(format_add(ip(f"192.0.2.{n}"), 60) for n in range(1, 10)))
    keeper.write()
    assert len(written.there["bans4"]) == 8
    assert (keeper.counts.added, keeper.counts.failed) == (added, failed)


def test_keeper_without_a_table_goes_on() -> None:
    keeper = Keeper(Written({"192.0.2.5": errno.ENOENT}))
    keeper.take(b"".join(format_add(ip(f"192.0.2.{n}"), 60) for n in range(1, 10)))
    keeper.write()
    assert (keeper.counts.failed, keeper.counts.batches) == (9, 1)


def test_keeper_never_bans_who_is_logged_in() -> None:
    times = iter((0.0, 0.5, 2.0))
    asked = []

    def find(ports: frozenset[int]) -> frozenset[object]:
        asked.append(ports)
        return frozenset({ip("192.0.2.1")})

    written = Written()
    keeper = Keeper(written, (), SshPeers(frozenset({22}), find, lambda: next(times)))  # type: ignore[arg-type]
    for _ in range(3):
        keeper.take(b"add 192.0.2.1 60\nadd 192.0.2.2 60\n")
        keeper.write()
    assert written.there["bans4"] == {"192.0.2.2"}
    assert len(asked) == 2


def test_ban_line_never_waits_and_counts_what_is_lost() -> None:
    reading, writing = os.pipe()
    line = BanLine(writing)
    sent = 0
    while line.ban(ip("192.0.2.1"), 60):
        sent += 1
    assert sent > 1000
    assert line.lost == 1
    assert set(os.read(reading, 1 << 20).splitlines()) == {b"add 192.0.2.1 60"}
    os.close(reading)
    assert not line.ban(ip("192.0.2.1"), 60)
    line.close()


# --- the kernel -----------------------------------------------------------------------------------------------------

kernel = pytest.mark.peer("nft", "ip")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_or_skip() as made:
        nft.load(Place(made.within), render(policy(25)))
        yield made


def is_banned(pair: Pair, address: str) -> bool:
    name = "bans6" if ":" in address else "bans4"
    try:
        pair.do(pair.host, "nft", "get", "element", "inet", "postreeve", name, f"{{ {address} }}")
    except Exception:
        return False
    return True


def processes_of(line: BanLine) -> list[int]:
    """The wardens that read from this pipe: the keeper and its worker."""
    inode = os.readlink(f"/proc/self/fd/{line.fileno()}")
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if os.readlink(process / "fd/0") == inode and b"warden" in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
    return sorted(found)


def begin(pair: Pair, *protected: str) -> BanLine:
    line = warden.start([ipaddress.ip_network(one) for one in protected], [22], Place(pair.within))
    assert line is not None
    return line


@kernel
def test_ban_drops_at_once_and_ends_by_itself(pair: Pair) -> None:
    line = begin(pair)
    with pair.listen(pair.host, (25,)):
        under_way = pair.connect(HOST_4, 25, CLIENT_4)
        assert is_alive(under_way)
        assert line.ban(ip(CLIENT_4), 2)
        assert line.ban(ip(CLIENT_6), 2)
        assert until(lambda: is_banned(pair, CLIENT_4) and is_banned(pair, CLIENT_6), "the bans")
        assert not is_alive(under_way)
        under_way.close()
        assert pair.dial(HOST_4, 25, CLIENT_4, timeout=0.3) == "silent"
        assert pair.dial(HOST_6, 25, CLIENT_6, timeout=0.3) == "silent"
        assert is_banned(pair, "2001:db8:1::ffff"), "its /64 is"
        assert not is_banned(pair, "2001:db8:1:1::7")
        assert pair.dial(HOST_4, 25, ADMIN_4) == "open"
        assert until(lambda: pair.dial(HOST_4, 25, CLIENT_4, timeout=0.3) == "open", "the end of the ban", 10)
        assert until(lambda: pair.dial(HOST_6, 25, CLIENT_6, timeout=0.3) == "open", "the end of the ban", 10)
        line.ban(ip(CLIENT_6), 600)
        line.ban(ip(CLIENT_4), 600)
        assert until(lambda: is_banned(pair, CLIENT_6) and is_banned(pair, CLIENT_4))
        line.unban(ip(CLIENT_6))
        line.unban(ip(CLIENT_4))
        assert until(lambda: not is_banned(pair, CLIENT_6) and not is_banned(pair, CLIENT_4))
    line.close()


@kernel
def test_warden_gives_up_every_right_but_one_and_ends_with_the_server(pair: Pair) -> None:
    line = begin(pair)
    line.ban(ip(CLIENT_4), 60)
    assert until(lambda: is_banned(pair, CLIENT_4))
    processes = processes_of(line)
    assert len(processes) == 2
    for pid in processes:
        status = dict(
            one.split(":\t", 1) for one in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in one
        )
        assert status["CapEff"] == status["CapPrm"] == f"{1 << 12:016x}"
        assert status["CapAmb"] == status["CapInh"] == "0" * 16
        assert status["NoNewPrivs"] == "1"
        assert "0" not in status["Uid"].split()
        assert "0" not in status["Gid"].split()
        assert status["Groups"].strip() == ""
    line.close()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), "their end", 10)


@kernel
@pytest.mark.parametrize("which", ["worker", "keeper"])
def test_bans_go_on_when_a_process_of_the_warden_dies(which: str, pair: Pair) -> None:
    line = begin(pair)
    line.ban(ip("198.51.100.50"), 600)
    assert until(lambda: is_banned(pair, "198.51.100.50"))
    keeper, worker = processes_of(line)
    os.kill(worker if which == "worker" else keeper, signal.SIGKILL)
    line.ban(ip("198.51.100.51"), 600)
    assert until(lambda: is_banned(pair, "198.51.100.51"), "the next ban", 10)
    assert is_banned(pair, "198.51.100.50")
    line.close()


@kernel
def test_warden_spares_protected_and_administrators(pair: Pair) -> None:
    line = begin(pair, "198.51.100.0/29", "2001:db8:1::99/128")
    with pair.listen(pair.host, (22, 25)):
        session = pair.connect(HOST_4, 22, ADMIN_4)
        for one in (ADMIN_4, CLIENT_4, CLIENT_6, "127.0.0.1", "198.51.100.9"):
            line.ban(ip(one), 600)
        assert until(lambda: is_banned(pair, "198.51.100.9"))
        assert [is_banned(pair, one) for one in (ADMIN_4, CLIENT_4, CLIENT_6, "127.0.0.1")] == [False] * 4
        assert is_alive(session)
        session.close()
    line.close()


@kernel
def test_bans_outlive_a_reload_and_begin_with_the_table(pair: Pair) -> None:
    line = begin(pair)
    place = Place(pair.within)
    pair.do(pair.host, "nft", "delete", "table", "inet", "postreeve")
    line.ban(ip("198.51.100.50"), 600)
    until(lambda: len(processes_of(line)) == 2)
    nft.load(place, render(policy(25)))
    line.ban(ip("198.51.100.51"), 600)
    assert until(lambda: is_banned(pair, "198.51.100.51"), "a ban after the table came", 10)
    nft.load(place, render(policy(25, 465)))
    assert is_banned(pair, "198.51.100.51")
    line.close()


@kernel
def test_ban_is_effective_within_50_milliseconds(pair: Pair) -> None:
    line = begin(pair)
    line.ban(ip("198.51.100.1"), 600)
    until(lambda: is_banned(pair, "198.51.100.1"))

    def measure(address: str) -> float:
        began = time.perf_counter()
        line.ban(ip(address), 600)
        while not is_banned(pair, address):
            pass
        return time.perf_counter() - began

    for addresses in ([f"198.51.100.{n}" for n in range(10, 25)], [f"2001:db8:{n:x}::1" for n in range(10, 25)]):
        seconds = [measure(address) for address in addresses]
        # Each look is a program of its own: what is measured is more than the ban takes.
        assert statistics.median(seconds) < 0.05, seconds
    line.close()


@kernel
@pytest.mark.slow
def test_hundred_thousand_bans_cost_little(pair: Pair, record_property: object) -> None:
    line = begin(pair)
    began = time.perf_counter()
    addresses = [ip(0x0A000000 + n) for n in range(80_000)] + [
        ip((0x20010DB8 << 96) + (n << 64) + 1) for n in range(20_000)
    ]
    for address in addresses:
        while not line.ban(address, 3600):
            time.sleep(0.001)
    last = str(addresses[-1])
    assert until(lambda: is_banned(pair, last), "the last ban", 60)
    seconds = time.perf_counter() - began
    resident = [_peak_kib(pid) for pid in processes_of(line)]
    print(f"100,000 bans in {seconds:.1f} s, resident {resident} KiB")
    assert sum(resident) < 64 * 1024
    assert {name: len(members) for name, members in nft.list_bans(Place(pair.within)).items()} == {
        "bans4": 80_000,
        "bans6": 20_000,
    }
    seconds_of_one = pair.inside(pair.host, _add_one_of_each)
    print(f"one more of IPv4 and of IPv6 after {[f'{1000 * one:.1f} ms' for one in seconds_of_one]}")
    assert max(seconds_of_one) < 0.05
    line.close()


def _add_one_of_each() -> list[float]:
    """How long the kernel takes: the answer comes when the set has it."""
    sets, found = Sets(), []
    for name, address in (("bans4", "198.51.100.200"), ("bans6", "2001:db8:ffff:ffff::1")):
        began = time.perf_counter()
        sets.add(name, [Entry(ip(address), 600)])
        found.append(time.perf_counter() - began)
    sets.close()
    return found


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@kernel
def test_sets_tell_what_the_kernel_refuses(pair: Pair) -> None:
    def attempt() -> list[int]:
        sets = Sets()
        codes = []
        for name, entries in (("nothing", [Entry(ip("192.0.2.1"), 5)]), ("bans4", [Entry(ip("2001:db8::1"), 5)])):
            with pytest.raises(SetProblem) as caught:
                sets.add(name, entries)
            codes.append(caught.value.errno)
        with pytest.raises(SetProblem) as caught:
            sets.remove("bans4", [Entry(ip("192.0.2.1"), 0)])
        codes.append(caught.value.errno)
        sets.add("bans4", [Entry(ip("192.0.2.1"), 5)] * 2)
        sets.close()
        return codes

    assert pair.inside(pair.host, attempt) == [errno.ENOENT, errno.EINVAL, errno.ENOENT]
