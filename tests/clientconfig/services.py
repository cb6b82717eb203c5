"""The kinds of services, mail programs and servers that the tests of this directory are about, and their cases."""

from pathlib import Path

from postreeve.clientconfig.kind import kind_named
from postreeve.clientconfig.settings import Kind, TlsMode, Value

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"

FILES = {
    "discourse": "app.yml",
    "exim": "exim4.conf",
    "exim-debian": "update-exim4.conf.conf",
    "ghost": "config.production.json",
    "gitea": "app.ini",
    "gitlab": "gitlab.rb",
    "grafana": "grafana.ini",
    "keycloak": "realm.json",
    "mastodon": ".env.production",
    "msmtp": ".msmtprc",
    "mutt": ".muttrc",
    "nextcloud": "config.php",
    "odoo": "odoo.conf",
    "postfix": "main.cf",
    "postfix-services": "master.cf",
    "redmine": "configuration.yml",
    "sentry": "config.yml",
    "thunderbird": "prefs.js",
}
"""What a file of each kind is called."""


def kind_of(name: str) -> Kind:
    kind = kind_named(name)
    assert kind is not None
    return kind


def cases() -> list[Path]:
    """The settings file of every case of these kinds."""
    found = (path for name in FILES for path in sorted((CORPUS / name).glob("*/*")) if path.name != "expected")
    return list(found)


def name_of(path: Path) -> str:
    return path.relative_to(CORPUS).as_posix()


def shown(value: Value[object] | None) -> str:
    """A value as readings.tsv has it."""
    match value:
        case None:
            return "-"
        case Value(value=None, is_reference=True):
            return "REFERENCE"
        case Value(value=TlsMode() as mode):
            return str(mode.value)
        case Value(value=bool() as truth):
            return "yes" if truth else "no"
    return str(value.value)
