"""Mail comes in: from an accepted connection to a durable message.

ASYNC. RFC 5321, 3207, 4954, 6409; 8314 for implicit TLS. `listener` accepts connections within limits that hold over
all worker processes (`counter`), `transport` is one socket with PROXY header, TLS and deadlines (`poller` watches all
of them), `session` the one loop from the core's events over `moment` and `policy` to replies, `receive` makes a message
of the content and has it stored, `login` checks passwords, `room` asks whether more mail fits. What the package needs
from others is in `service`.

Start reading at `session`, then `moment`, then `receive`.
"""
