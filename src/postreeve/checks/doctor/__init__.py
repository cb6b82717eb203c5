"""Is this machine's own server well? A Machine in, findings out.

PURE. Start reading at `catalogue`, which lists every check; one module per subject.
"""
