"""Which packets may pass, and why: intent, one model of flows, renderers and readers per target, comparison.

PURE; `enforce` alone changes a machine. A renderer that cannot express something raises CannotExpress and never leaves
it out; a reader that cannot understand something says so in `Flow.unknown` and never guesses. Start reading at `flow`.
"""
