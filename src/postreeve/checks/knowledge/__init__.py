"""What is known of failures: causes and error texts as data (TOML), and the JSON beside it that is read at run time.

PURE. `causes.toml` and `probe_causes.toml` hold the causes, `patterns/` the texts; `make docs` writes `catalogue.json`
and `patterns.json` from them. Start reading at `catalogue`, then `pattern`.
"""

from postreeve.checks.knowledge.catalogue import causes, fill

__all__ = ["causes", "fill"]
