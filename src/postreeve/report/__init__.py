"""Machine-written mail: what postreeve itself has to say to people and to other servers.

PURE. RFC 3461, 3464, 6522, 6533 (delivery status notifications). Idents, dates and names are given, bytes come out.

Start reading at `dsn`; `fact` says what is reported, `status` and `human` are its two tellings, `mime` packs them.
"""
