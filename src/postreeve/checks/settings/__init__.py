"""Are a program's mail settings right? Settings as read in, findings with corrections out.

PURE. RFC 8314. Start reading at `rule`, which lists every rule; `lint` applies them.
"""
