"""What `postreeve ports` tells, as JSON; the help of the command names the keys."""

from __future__ import annotations

from typing import Any

from postreeve.cli.ports_report import HostReport, Overview, Settings
from postreeve.ports.advise import Ranked, describe, grade
from postreeve.ports.endpoint import Measured
from postreeve.ports.network import Network, Opinion
from postreeve.ports.provider import Note, Provider
from postreeve.ports.service import SERVICES, Service
from postreeve.probes.way_out import Tried, WaysOut

Document = dict[str, Any]


def overview_document(overview: Overview) -> Document:
    """The answer without a host."""
    return {
        "ports": [_service(one) for one in SERVICES],
        "ways_out": _ways(overview.ways),
        "network": _opinion(overview.opinion),
    }


def host_document(report: HostReport) -> Document:
    """The answer for a host."""
    choice = report.advice.choice
    return {
        "host": report.measured.host,
        "asked": report.asked,
        "addresses": list(report.measured.addresses),
        "failure": report.measured.failure,
        "suggestion": report.suggestion,
        "measured": [_measured(one) for one in report.measured.endpoints],
        "ranking": [_ranked(one) for one in report.advice.ranking],
        "choice": None
        if choice is None
        else {
            "port": choice.port,
            "mode": choice.mode.value if choice.mode is not None else None,
            "reason": report.advice.reason,
            "warnings": list(report.advice.warnings),
            "settings": None if report.settings is None else _settings(report.settings),
        },
        "nearest": report.advice.nearest.port if report.advice.nearest is not None else None,
        "provider": None if report.provider is None else _provider(report.provider),
        "network": _opinion(report.opinion),
        "ways_out": _ways(report.ways),
    }


def _service(one: Service) -> Document:
    return {
        "port": one.port,
        "name": one.name,
        "mode": one.mode.value,
        "use": one.use.value,
        "purpose": one.purpose,
        "audience": one.audience,
        "registered": one.is_registered,
    }


def _measured(one: Measured) -> Document:
    return {
        "address": one.address,
        "port": one.port,
        "family": one.family,
        "reach": one.reach.value,
        "reach_detail": one.reach_detail,
        "connect_seconds": round(one.connect_seconds, 4),
        "total_seconds": round(one.total_seconds, 4),
        "connections": one.connections,
        "protocol": one.protocol,
        "greeting": one.greeting,
        "mode": one.mode.value if one.mode is not None else None,
        "tls_version": one.tls_version,
        "certificate_trusted": one.is_trusted,
        "certificate_name_right": one.is_name_right,
        "certificate_problem": one.certificate_problem,
        "auth_before_tls": list(one.auth_before),
        "auth_after_tls": list(one.auth_after),
        "flaw": one.flaw.name.lower() if one.flaw.value else "",
        "flaw_detail": one.flaw_detail,
        "grade": grade(one).name.lower(),
        "words": describe(one),
    }


def _ranked(one: Ranked) -> Document:
    return {
        "port": one.port,
        "grade": one.grade.name.lower(),
        "usable": one.is_usable,
        "mode": one.mode.value if one.mode is not None else None,
        "because": list(one.because),
        "lost": one.lost,
    }


def _settings(one: Settings) -> Document:
    return {
        "host": one.host,
        "port": one.port,
        "mode": one.mode.value,
        "username": one.username,
        "user": one.user_words,
        "password": one.password_words,
        "snippet": one.snippet,
    }


def _notes(notes: tuple[Note, ...]) -> list[Document]:
    return [{"text": one.text, "confirmed": one.is_confirmed} for one in notes]


def _provider(one: Provider) -> Document:
    ports = [{"port": each.port, "mode": each.mode.value, "confirmed": each.is_confirmed} for each in one.ports]
    return {
        "id": one.id,
        "name": one.name,
        "ports": ports,
        "user": one.user_words,
        "password": one.password,
        "oauth_only": one.is_oauth_only,
        "sandbox": one.is_sandbox,
        "notes": _notes(one.notes),
        "disagreements": list(one.disagreements),
        "sources": list(one.sources),
        "checked_on": one.checked_on.isoformat(),
        "confirmed": one.is_confirmed,
    }


def _network(one: Network) -> Document:
    return {
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "ports": {str(each.port): each.status.value for each in one.ports},
        "unblock": one.unblock,
        "notes": _notes(one.notes),
        "sources": list(one.sources),
        "checked_on": one.checked_on.isoformat(),
        "confirmed": one.is_confirmed,
    }


def _opinion(opinion: Opinion) -> Document:
    known = {"id": None, "name": None} if opinion.network is None else _network(opinion.network)
    return {
        **known,
        "likely": opinion.network is not None,
        "pattern": opinion.pattern.name.lower(),
        "because": list(opinion.because),
        "candidates": [one.id for one in opinion.candidates],
        "differences": list(opinion.differences),
    }


def _ways(ways: WaysOut) -> Document:
    return {
        "tested": ways.is_tested,
        "failure": ways.failure,
        "ports": {str(port): seen.value for port, seen in sorted(ways.observed.items())},
        "tried": [_tried(one) for one in ways.tried],
        "proxied": list(ways.proxied),
    }


def _tried(one: Tried) -> Document:
    return {
        "host": one.known.host,
        "port": one.known.port,
        "observed": one.observed.value,
        "words": describe(one.measured) if one.measured is not None else one.failure,
    }
