"""LMTP over a local socket (RFC 2033); over TCP it is a connection like any other."""

from __future__ import annotations

import asyncio
import errno
import socket

from postreeve.net.connect import Connected, ConnectTrouble, NoConnection


async def connect_socket(path: str, *, timeout_seconds: float) -> Connected | NoConnection:
    """A connection to the server that listens on the socket at `path`, or why there is none."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(timeout_seconds):
            await asyncio.get_running_loop().sock_connect(made, path)
    except TimeoutError:
        made.close()
        return NoConnection(ConnectTrouble.TIMED_OUT, f"no answer within {timeout_seconds:g} s", path)
    except OSError as error:
        made.close()
        return _explain(error, path)
    except ValueError:
        made.close()
        return NoConnection(ConnectTrouble.OTHER, "not a path that a socket can have", path)
    except BaseException:
        made.close()
        raise
    return Connected(made, path)


def _explain(error: OSError, path: str) -> NoConnection:
    match error.errno:
        case errno.ENOENT:
            return NoConnection(ConnectTrouble.REFUSED, "no such socket: is the LMTP server running?", path)
        case errno.ECONNREFUSED:
            return NoConnection(ConnectTrouble.REFUSED, "nobody listens on the socket", path)
        case errno.EACCES | errno.EPERM:
            return NoConnection(ConnectTrouble.OTHER, "no permission to use the socket", path)
        case errno.EAGAIN:
            return NoConnection(ConnectTrouble.TIMED_OUT, "the LMTP server's queue of connections is full", path)
        case _:
            return NoConnection(ConnectTrouble.OTHER, (error.strerror or str(error))[:200], path)
