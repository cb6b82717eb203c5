"""Facts in, one proven cause out: what a probe saw is judged here, and nowhere else.

PURE. RFC 5321 (replies and stages), 3207 and 8314 (modes), 4954 (AUTH), 9525 (names in certificates). One module per
stage; `decide` asks them in the order of a connection, ourselves first: our own firewall, our network, a proxy on the
way, and only then the server. Start reading at `decide`.
"""

from postreeve.checks.judge.decide import judge
from postreeve.checks.judge.judgement import Judgement, Refuser

__all__ = ["Judgement", "Refuser", "judge"]
