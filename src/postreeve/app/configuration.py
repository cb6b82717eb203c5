"""The configuration file on disk: found, read, and compared with the files it names."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from postreeve.app.privilege import group_name
from postreeve.config.assemble import password_files
from postreeve.config.lines import Place, find_lines, line_of
from postreeve.config.loader import load
from postreeve.config.model import Config
from postreeve.config.problem import ConfigError, Problem, path_text
from postreeve.net.certificate import CertificateFiles, ServerContexts, TlsSettings, load_contexts, verified_context

ENVIRONMENT: Final = "POSTREEVE_CONFIG"
SYSTEM_FILE: Final = Path("/etc/postreeve/postreeve.toml")
_MAX_FILE_OCTETS: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Installation:
    """A configuration in force, the file and text it came from, and the passwords it keeps in files."""

    path: Path
    text: str
    config: Config
    secrets: Mapping[PurePosixPath, str]

    @property
    def data_dir(self) -> Path:
        """Where durable state lives."""
        return Path(self.config.data_dir)


def default_dev_directory() -> Path:
    """Where `serve --dev` keeps its data: the same for every working directory, so that the tools find it."""
    state = os.environ.get("XDG_STATE_HOME") or ""
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "postreeve" / "dev"


def find(given: Path | None, *, is_tool: bool = True) -> Path:
    """The configuration file: `given`, $POSTREEVE_CONFIG, the system's, or, for tools, that of the last `serve --dev`.

    Raises ConfigError when there is none.
    """
    if given is not None:
        return given
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    places = (SYSTEM_FILE, *([default_dev_directory() / "postreeve.toml"] if is_tool else []))
    for place in places:
        if os.access(place, os.F_OK):
            return place
    tried = ", ".join(str(place) for place in places)
    hint = (
        f"name one with --config or {ENVIRONMENT}, make one with `postreeve quickstart`, or try `postreeve serve --dev`"
    )
    raise ConfigError("postreeve", (Problem("", 0, f"no configuration file: looked for {tried}", hint),))


def read(path: Path) -> Installation:
    """The installation that the file at `path` describes. Raises ConfigError with every mistake in it.

    The files it names are not looked at except for passwords; see `check_files`.
    """
    return parse(path, _read_text(path))


def parse(path: Path, text: str) -> Installation:
    """The same for a text that was read before."""
    loaded = load(text, str(path.absolute().parent))
    if not isinstance(loaded, Config):
        raise ConfigError(str(path), loaded)
    secrets: dict[PurePosixPath, str] = {}
    problems = []
    for file in password_files(loaded):
        try:
            secrets[file] = Path(file).read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as problem:
            place = _naming(loaded, file)
            line = line_of(find_lines(text), place)
            problems.append(Problem(path_text(place), line, f"{file} cannot be read: {_reason(problem)}"))
    if problems:
        raise ConfigError(str(path), tuple(problems))
    return Installation(path, text, loaded, secrets)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_FILE_OCTETS + 1)
    except OSError as problem:
        hint = "make one with `postreeve quickstart`" if isinstance(problem, FileNotFoundError) else ""
        raise ConfigError(str(path), (Problem("", 0, f"cannot be read: {problem.strerror}", hint),)) from None
    if len(octets) > _MAX_FILE_OCTETS:
        raise ConfigError(str(path), (Problem("", 0, "is larger than 1 MiB", "this is no configuration file"),))
    try:
        return octets.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as problem:
        line = octets.count(b"\n", 0, problem.start) + 1
        raise ConfigError(str(path), (Problem("", line, "is not UTF-8", "save the file as UTF-8"),)) from None


def _naming(config: Config, file: PurePosixPath) -> Place:
    for index, route in enumerate(config.route):
        if route.password_file == file:
            return ("route", index, "password_file")
        if route.fallback is not None and route.fallback.password_file == file:
            return ("route", index, "fallback", "password_file")
    return ()


def _reason(problem: OSError | UnicodeDecodeError) -> str:
    return problem.strerror or str(problem) if isinstance(problem, OSError) else "it is not UTF-8"


def tls_settings(config: Config) -> TlsSettings | None:
    """The certificates of [tls]; None without any."""
    tls = config.tls
    if tls.certificate is None or tls.key is None:
        return None
    return TlsSettings(
        CertificateFiles(Path(tls.certificate), Path(tls.key)),
        tuple(CertificateFiles(Path(one.certificate), Path(one.key)) for one in tls.extra),
        tls.minimum_version.value,
    )


@dataclass(frozen=True, slots=True)
class FileReport:
    """What is to be said about the files that a configuration names: what prevents a start, and what does not."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check_files(installation: Installation) -> tuple[Problem, ...]:
    """What is wrong with the files that the configuration names, and with itself, as our account sees it."""
    return inspect_files(installation).problems


def inspect_files(installation: Installation) -> FileReport:
    """The same with what is only worth a warning, such as an expired certificate."""
    lines = find_lines(installation.text)
    found: dict[bool, list[Problem]] = {True: [], False: []}
    for place, problem, hint, is_fatal in _file_complaints(installation.config):
        found[is_fatal].append(Problem(path_text(place), line_of(lines, place), problem, hint))
    if not os.access(installation.path, os.R_OK):
        hint = f"chgrp {group_name()} {installation.path} && chmod 640 {installation.path}"
        what = "the server's account cannot read this file: it could never be reloaded"
        found[True].append(Problem("", 0, what, hint))
    return FileReport(tuple(found[True]), tuple(found[False]))


def _file_complaints(config: Config) -> Iterator[tuple[Place, str, str, bool]]:
    settings = tls_settings(config)
    if settings is not None:
        loaded = load_contexts(settings, time.time())
        for finding in loaded.findings if isinstance(loaded, ServerContexts) else loaded:
            yield _tls_place(config, finding.path), f"{finding.path}: {finding.problem}", finding.hint, finding.is_fatal
    for file in password_files(config):
        if not os.access(file, os.R_OK):
            yield _naming(config, file), f"{file} cannot be read", "the server's account must be able to", True
    authorities = config.delivery.ca_file
    if authorities is not None:
        try:
            verified_context(Path(authorities))
        except ssl.SSLError:
            hint = "it must begin with -----BEGIN CERTIFICATE-----"
            yield ("delivery", "ca_file"), f"{authorities} holds no PEM certificate", hint, True
        except OSError as problem:
            hint = "check the path and the permissions"
            yield ("delivery", "ca_file"), f"{authorities} cannot be read: {problem.strerror}", hint, True
    log = config.log.file
    if log is not None and not Path(log).parent.is_dir():
        yield ("log", "file"), f"{log.parent} is no directory", "make it, owned by the server's account", True


def _tls_place(config: Config, path: Path) -> Place:
    for index, extra in enumerate(config.tls.extra):
        for field in ("certificate", "key"):
            if Path(getattr(extra, field)) == path:
                return ("tls", "extra", index, field)
    is_certificate = config.tls.certificate is not None and Path(config.tls.certificate) == path
    return ("tls", "certificate") if is_certificate else ("tls", "key")
