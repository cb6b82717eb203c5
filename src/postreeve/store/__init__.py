"""Durable state behind one Protocol.

ASYNC. `face` is the contract, written as promises; `memory` is its executable specification; `sqlite` the embedded
store (WAL, synchronous=FULL, group commit); one contract test suite holds for all. `shards` joins several stores for
the tools; `accounts` knows who may submit.

Start reading at `face`.
"""
