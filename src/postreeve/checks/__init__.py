"""The one catalogue of what can be wrong: Facts in, verdicts and findings out.

PURE. Probes gather Facts and never judge; checks judge Facts and never gather; commands, the server's self-check and
the web page print. Failure knowledge (error texts, causes, fixes) is data beside the code. Start reading at `facts`
and `verdict`.
"""
