"""From a configuration to a running server: lock, ports, rights, files, then the supervisor."""

from __future__ import annotations

import importlib
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import dns.asyncbackend
import dns.rdata

from postreeve.app.accounts import open_accounts
from postreeve.app.bans import open_line
from postreeve.app.binding import bind_all, take_passed
from postreeve.app.configuration import Installation, check_files
from postreeve.app.lock import DirectoryLock
from postreeve.app.notify import Notifier
from postreeve.app.privilege import check_access, drop, find_account, prepare_directory
from postreeve.app.startup import StartupError
from postreeve.app.supervisor import Announce, Supervisor, run_directory
from postreeve.config.assemble import listener_settings
from postreeve.config.model import Config
from postreeve.config.problem import ConfigError
from postreeve.store.accounts import AccountsDamaged


def serve(installation: Installation, announce: Announce = lambda bound: None) -> int:
    """Run the server until it is told to stop; returns the exit status. `announce` is called once all accept.

    Raises StartupError or ConfigError, with nothing left running, when it cannot start.
    """
    config = installation.config
    os.umask(0o077)
    notifier = Notifier()
    passed = take_passed()
    account = find_account(config.user)
    prepare_directory(installation.data_dir, account)
    lock = DirectoryLock(installation.data_dir)
    lock.acquire()
    try:
        if account is not None:
            lock.give_to(account.uid, account.gid)
        count = worker_count(config)
        bound = bind_all([listener_settings(config, one) for one in config.listener], count, passed)
        import_ahead(config)
        bans = open_line(config)
        if account is not None:
            drop(account)
        check_access(installation.data_dir)
        check_access(make_run_directory(installation.data_dir))
        raise_file_limit()
        # Made before the workers open it at the same moment. They tell of damage: other mail needs no accounts.
        with suppress(AccountsDamaged), open_accounts(installation.data_dir):
            pass
        problems = check_files(installation)
        if problems:
            raise ConfigError(str(installation.path), problems)
        for warning in warnings_of(config):
            sys.stderr.write(f"postreeve: WARNING: {warning}\n")
        return Supervisor(installation, bound, count, notifier, announce, bans).run()
    finally:
        lock.release()


def import_ahead(config: Config) -> None:
    """What the workers would import one by one is loaded here: they share it, and their account need not reach it."""
    dns.asyncbackend.get_backend("asyncio")
    dns.rdata.load_all_types()  # type: ignore[no-untyped-call]
    if config.metrics.listen is not None:
        importlib.import_module("postreeve.web.metrics")


def warnings_of(config: Config) -> list[str]:
    """What an operator should not do but may."""
    found = []
    if not config.queue.synchronous:
        found.append("queue.synchronous = false: a crash loses mail that was accepted; only for throw-away data")
    if os.geteuid() == 0 and any(0 < listener.port < 1024 for listener in config.listener):
        found.append('this server runs as root: name an account of its own with user = "postreeve"')
    return found


def worker_count(config: Config) -> int:
    """How many workers: as configured, or one per core that we may use."""
    return config.workers or len(os.sched_getaffinity(0))


def make_run_directory(data_dir: Path) -> Path:
    """The same, made if it is missing. Raises StartupError."""
    path = run_directory(data_dir)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as problem:
        raise StartupError(f"{path} cannot be made: {problem.strerror}") from None
    return path


def raise_file_limit() -> None:
    """Every connection needs a descriptor: take as many as we may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
