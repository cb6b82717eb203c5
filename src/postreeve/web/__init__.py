"""What the server shows over HTTP.

ASYNC. `metrics` is the endpoint that Prometheus scrapes. Start reading there.
"""
