"""Facts about this machine and its own server, for `checks.doctor`.

ASYNC. Looks and changes nothing: reads /proc, asks the DNS, connects to our own ports and to the ways out, and sends
no mail. Start reading at `gather`.
"""
