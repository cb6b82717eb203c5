"""postreeve: a mail server with three ports, one durable queue and delivery.

Start reading at `postreeve.smtp.order`, the table that is the protocol, then `postreeve.app`, which puts the parts
together.
"""

__version__ = "0.1.0"
