"""One typed event per thing that happened → log line, metric, journal row, live page.

PURE. Start reading at `event`; `line` renders, `metric` counts.
"""
