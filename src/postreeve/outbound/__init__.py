"""Mail on its way out: claim what is due, ask the plan, do its steps, settle.

ASYNC. RFC 5321 sections 4.5.3.2, 4.5.4 and 5; LMTP: RFC 2033; TLS: RFC 3207, 7435, 8314. What to try and how to judge
it is decided in `queue`; what the words on the wire mean in `smtp`; here they are carried out.

Start reading at `smtp` (one connection) and `pool` (those kept open).
"""
