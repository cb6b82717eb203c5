"""The field's nouns: domains, mailboxes, replies, envelopes, header sections, message identifiers.

PURE. RFC 5321, 5322, 6531, 3461, 3463, 2034. Everything above speaks in these types: bytes and str from outside are
parsed once, at the edge, and after that a `Domain` is a domain and a `Mailbox` is a mailbox.

Start reading at `address`, then `reply` and `envelope`.
"""
