"""Scanners: one per notation, each giving entries (key, value, place) and none knowing what a key means.

PURE. Every scanner is total and linear: any text gives a result, what it cannot read is left out. Start reading at
`postreeve.clientconfig.text`.
"""
