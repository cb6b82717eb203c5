"""One connection to one server, from the greeting to QUIT: what was said, and how it ended."""

from __future__ import annotations

from postreeve.checks.conversation import Conversation, Ending
from postreeve.checks.stage import Stage
from postreeve.probes.dial import Dialled
from postreeve.probes.script import Login, Patience, Script, StartTls

__all__ = ["Login", "Patience", "Script", "StartTls", "converse"]


async def converse(dialled: Dialled, script: Script) -> Conversation:
    """Have this conversation on a connection just made, and close it; always a Conversation, never an exception.

    Without a connection (`dialled.socket` is None) nothing is said and it ended in stage TCP.
    """
    if dialled.socket is None:
        return Conversation(script.opening, dialled.dial, ending=Ending.STOPPED, ended_at=Stage.TCP)
    dialled.socket.close()
    return Conversation(script.opening, dialled.dial, ending=Ending.STOPPED, ended_at=Stage.BANNER)
