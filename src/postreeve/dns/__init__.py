"""What a DNS answer is, and the `Resolver` that the rest of the house is handed.

PURE. RFC 1035, 5321 section 5, 7505, 8601. Implementations: `net.resolver` (dnspython), `dns.zone` (a dict).
Start reading at `answer`.
"""
