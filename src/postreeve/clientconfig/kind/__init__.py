"""The kinds of settings files that we read, one module each.

Start reading at `KINDS`. A kind whose keys are more its own comes before one whose keys are everybody's: where two
read the same place, the earlier one has it.
"""

from __future__ import annotations

from typing import Final

from postreeve.clientconfig.kind.csharp import MAILKIT, SMTPCLIENT
from postreeve.clientconfig.kind.discourse import DISCOURSE
from postreeve.clientconfig.kind.dotnet import APPSETTINGS, WEB_CONFIG
from postreeve.clientconfig.kind.email_url import EMAIL_URL
from postreeve.clientconfig.kind.env import DJANGO_ENV, ENV, LARAVEL_ENV
from postreeve.clientconfig.kind.exim import EXIM
from postreeve.clientconfig.kind.exim_smarthost import EXIM_SMARTHOST
from postreeve.clientconfig.kind.ghost import GHOST
from postreeve.clientconfig.kind.gitea import GITEA
from postreeve.clientconfig.kind.gitlab import GITLAB
from postreeve.clientconfig.kind.go import GO
from postreeve.clientconfig.kind.grafana import GRAFANA
from postreeve.clientconfig.kind.javamail import JAVAMAIL
from postreeve.clientconfig.kind.keycloak import KEYCLOAK
from postreeve.clientconfig.kind.laravel import LARAVEL_CONFIG
from postreeve.clientconfig.kind.manifest import COMPOSE, KUBERNETES
from postreeve.clientconfig.kind.mastodon import MASTODON
from postreeve.clientconfig.kind.msmtp import MSMTP
from postreeve.clientconfig.kind.mutt import MUTT
from postreeve.clientconfig.kind.nextcloud import NEXTCLOUD
from postreeve.clientconfig.kind.nodemailer import NODEMAILER
from postreeve.clientconfig.kind.odoo import ODOO
from postreeve.clientconfig.kind.phpmailer import PHPMAILER
from postreeve.clientconfig.kind.postfix import POSTFIX
from postreeve.clientconfig.kind.postfix_services import POSTFIX_SERVICES
from postreeve.clientconfig.kind.python import DJANGO_SETTINGS, FASTAPI_MAIL, FLASK_MAIL
from postreeve.clientconfig.kind.rails import RAILS
from postreeve.clientconfig.kind.redmine import REDMINE
from postreeve.clientconfig.kind.sentry import SENTRY
from postreeve.clientconfig.kind.smtplib import SMTPLIB
from postreeve.clientconfig.kind.spring import SPRING
from postreeve.clientconfig.kind.symfony import SYMFONY
from postreeve.clientconfig.kind.thunderbird import THUNDERBIRD
from postreeve.clientconfig.kind.wordpress import WORDPRESS
from postreeve.clientconfig.program.program import basename
from postreeve.clientconfig.settings import Kind, SubmissionSettings

KINDS: Final[tuple[Kind, ...]] = (
    DISCOURSE,
    EXIM,
    EXIM_SMARTHOST,
    GHOST,
    GITEA,
    GITLAB,
    GRAFANA,
    KEYCLOAK,
    MASTODON,
    MSMTP,
    MUTT,
    NEXTCLOUD,
    ODOO,
    POSTFIX,
    POSTFIX_SERVICES,
    REDMINE,
    SENTRY,
    THUNDERBIRD,
    DJANGO_SETTINGS,
    FLASK_MAIL,
    FASTAPI_MAIL,
    RAILS,
    NODEMAILER,
    SYMFONY,
    LARAVEL_CONFIG,
    LARAVEL_ENV,
    DJANGO_ENV,
    EMAIL_URL,
    SPRING,
    PHPMAILER,
    WORDPRESS,
    GO,
    JAVAMAIL,
    SMTPCLIENT,
    MAILKIT,
    SMTPLIB,
    APPSETTINGS,
    WEB_CONFIG,
    COMPOSE,
    KUBERNETES,
    ENV,
)


def recognise(file: str, text: str) -> tuple[Kind, ...]:
    """The kinds that this file is of; mostly one or none."""
    return tuple(kind for kind in KINDS if kind.recognises(file, text))


def kind_named(name: str) -> Kind | None:
    """The kind of this name, or None."""
    return next((kind for kind in KINDS if kind.name == name), None)


_MARKS: Final = ("smtp", "mail", "relayhost", "smarthost")


def may_have_settings(file: str, text: str) -> bool:
    """False for most of what a tree of sources has: no kind finds anything in a file without one of these words."""
    lowered = text.lower()
    return any(mark in lowered for mark in _MARKS) or "smtp" in basename(file)


def read_all(file: str, text: str, kind: Kind | None = None) -> tuple[tuple[Kind, SubmissionSettings], ...]:
    """Every set of settings in a file with the kind that read it; what an earlier kind has read, no later one has."""
    found: list[tuple[Kind, SubmissionSettings]] = []
    if kind is None and not may_have_settings(file, text):
        return ()
    taken: set[int] = set()
    # A kind reads nothing in a file that is not its own, so nobody needs to be asked first.
    for each in (kind,) if kind is not None else KINDS:
        for settings in each.read(file, text):
            places = {
                value.span.start
                for value in (settings.host, settings.port, settings.username, settings.password)
                if value is not None and value.span is not None
            }
            if not places & taken:
                found.append((each, settings))
                taken |= places
    return tuple(found)
