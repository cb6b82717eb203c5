"""One module per target: its notation in, a Policy out; what is not understood is said, never guessed.

PURE. Start reading at `nftables`.
"""
