"""The composition root: a Config in, a running server out.

ASYNC in the workers; the supervisor is small and synchronous. Start reading at `launch`, then `supervisor`, `worker`,
`parts`.
"""
