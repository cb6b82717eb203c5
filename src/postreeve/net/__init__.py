"""The network as postreeve sees it: names, connections, TLS.

ASYNC. RFC 1035, 2308 (answers and how long they hold), 8305 (which address first), 8446 and 5246 (TLS). Nothing here
knows SMTP.

Start reading at `tls` and `certificate`, then `resolver` and `connect`.
"""
