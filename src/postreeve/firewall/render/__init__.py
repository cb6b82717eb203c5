"""One module per target: a checked Policy in, the target's own notation out; deterministic, and touching only its own.

PURE. Start reading at `nftables`.
"""
