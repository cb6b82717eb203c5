"""Other programs' mail settings, read where they stand and corrected in place, without executing anything.

PURE. RFC 8314, RFC 6186. One module per kind of file under `kind/`; start reading at `settings`.
"""
