"""As much of crowdsec's local API as its bouncer asks for: two decisions, then none.

    python -m tests.firewall.crowdsec_api FILE

writes a line into FILE when it listens on port 18080 of loopback.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_first = "startup=true" in self.path
        decisions = [_decision(number, value) for number, value in enumerate(("203.0.113.77", "2001:db8::77"))]
        body = json.dumps({"new": decisions if is_first else None, "deleted": None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _decision(number: int, value: str) -> dict[str, object]:
    scenario = {"id": number + 1, "origin": "cscli", "type": "ban", "scope": "Ip", "scenario": "test"}
    return {**scenario, "value": value, "duration": "1h0m0s"}


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 18080), _Answers)
    Path(sys.argv[1]).write_text("listening\n")
    server.serve_forever()
