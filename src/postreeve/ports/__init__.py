"""What is known of SMTP's ports: what each is for, who serves mail on which, who blocks which, and which to choose.

PURE. RFC 8314, RFC 6186, RFC 6409. Start reading at `service`.
"""
