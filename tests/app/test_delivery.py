"""The outgoing half as the configuration puts it together: who may vouch for a next hop."""

import smtplib
from pathlib import Path

from tests.lab.server import Server


def send(server: Server, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", server.port("mx"), timeout=20) as client:
        client.sendmail("a@example.com", ["info@example.org"], f"Subject: {subject}\r\n\r\nhello\r\n")


def test_delivery_trusts_the_authority_of_ca_file_after_a_reload(tmp_path: Path) -> None:
    """A smarthost with a certificate of its own authority: refused by default, trusted once the file is named."""
    with Server(tmp_path / "hop") as hop:
        way = {"via": "smarthost", "host": "127.0.0.1", "port": hop.port("mx"), "tls": "required"}
        config = {"domain": [{"name": "example.org"}], "route": [{"domains": ["*"], **way}]}
        with Server(tmp_path / "server", config) as server:
            send(server, "one")
            line = server.wait_for_log("event=recipient_deferred")
            assert "certificate" in line
            assert hop.messages("info@example.org") == []
            assert "problem= " in server.reload({"delivery": {"ca_file": str(hop.ca_file)}})
            send(server, "two")
            (message,) = hop.wait_for_messages("info@example.org")
            assert b"Subject: two" in message
            assert "tls=" in server.wait_for_log("event=recipient_delivered")
            broken = tmp_path / "junk.pem"
            broken.write_text("junk")
            line = server.reload({"delivery": {"ca_file": str(broken)}})
            assert f"{broken} holds no PEM certificate" in line
            assert "the old configuration stays in force" in line
