"""Gathering Facts: names, paths, conversations, this machine. Probes look and never judge.

ASYNC. At most three connections per address and port, one at a time, an honest EHLO, never AUTH twice, DATA only when
asked for. Start reading at `walk`.
"""
