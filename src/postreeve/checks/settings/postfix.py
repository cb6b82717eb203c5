"""Rules on Postfix's own notation."""

from __future__ import annotations

from collections.abc import Iterator

from postreeve.checks.settings import rule
from postreeve.checks.settings.subject import Problem, Subject, problem
from postreeve.clientconfig.settings import Wanted


def brackets(subject: Subject) -> Iterator[Problem]:
    """A relayhost with a submission port stands in brackets, so that no MX host is looked up."""
    if subject.kind.name != "postfix":
        return
    for place in subject.settings.extra:
        because = f"relayhost {place.value} has no brackets"
        host, _, port = (place.value or "").partition(":")
        yield problem(
            subject, rule.RELAYHOST_WITHOUT_BRACKETS, place, because, f"relayhost = [{host}]:{port}", wanted=Wanted()
        )
