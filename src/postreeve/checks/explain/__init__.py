"""From an error text to the causes that fit it: what a text decides, and what would decide the rest.

PURE. `segment` finds the telling lines of a log or traceback, `context` what else the text says (port, library, mode),
`reason` matches the patterns of `checks.knowledge` and weighs them. For whole logs `logformat` finds the lines that
fail and `logtally` groups what they say. Start reading at `reason.explain`.
"""
