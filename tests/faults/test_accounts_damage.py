"""A damaged file of accounts: the server starts, mail between servers flows, and what it says to do does help."""

from __future__ import annotations

import re
import shutil
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.faults import site
from tests.faults.inject import try_to_send
from tests.faults.ledger import ACCOUNT
from tests.lab.server import Server

pytestmark = pytest.mark.slow


def log_in(server: Server) -> int:
    """The code of the reply to a right login on 465."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    with smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), timeout=20, context=context) as client:
        try:
            return client.login(*ACCOUNT)[0]
        except smtplib.SMTPAuthenticationError as refusal:
            return refusal.smtp_code


def test_damaged_accounts_stop_logins_and_nothing_else(tmp_path: Path) -> None:
    server = Server(tmp_path)
    site.add_account(server)
    file, backup = server.data_dir / "accounts.db", tmp_path / "backup.db"
    shutil.copy(file, backup)
    garbage = b"no database at all" * (file.stat().st_size // 18)
    file.write_bytes(garbage)
    with server:
        line = server.wait_for_log("event=accounts_trouble state=damaged")
        assert "level=error" in line
        assert try_to_send(server.port("mx"), "between-servers") == (250, "")
        server.wait_for_messages("box.between-servers@example.org")
        assert log_in(server) == 454
        status = site.ask(server, "status")
        (problem,) = status["problems"]
        assert problem.startswith("nobody can log in: ")
        found = re.search(r"mkdir (\S+) && mv \S+ \S+", problem)
        assert found
        subprocess.run(["sh", "-c", found[0].rstrip(";")], check=True)
        assert (Path(found[1]) / file.name).read_bytes() == garbage
        shutil.copy(backup, file)
        server.wait_for_log("event=accounts_trouble state=recovered")
        assert log_in(server) == 235
        assert site.ask(server, "status")["problems"] == []
    site.assert_no_traceback(server.log())
