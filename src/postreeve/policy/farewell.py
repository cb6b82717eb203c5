"""The ends of sessions that the client did not ask for: 421 and why. RFC 5321, sections 3.8 and 4.5.3.2.7."""

from __future__ import annotations

from typing import Final

from postreeve.mail.reply import Reply

SHUTDOWN: Final = Reply(421, "4.3.2", "shutting down, try again later")
IDLE: Final = Reply(421, "4.4.2", "nothing heard for too long")
TOO_SLOW: Final = Reply(421, "4.4.2", "content comes too slowly")
TOO_LONG: Final = Reply(421, "4.7.0", "session too long, connect again")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "too many errors")
TOO_MUCH_JUNK: Final = Reply(421, "4.7.0", "too many commands without mail")
TOO_MANY_UNKNOWN: Final = Reply(421, "4.7.0", "too many unknown recipients")
TOO_MANY_LOGINS: Final = Reply(421, "4.7.0", "too many failed logins")
INTERNAL: Final = Reply(421, "4.3.0", "internal error, try again later")
