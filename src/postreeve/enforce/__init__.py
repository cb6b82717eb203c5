"""The only package that changes a machine: loads firewalls with rehearsal and way back, keeps banned addresses out.

ASYNC (not pure: it runs programs, writes files, speaks netlink). Nothing here decides what should pass: that is
`firewall`'s part. Start reading at `apply`; `place` says on which machine, or in which namespace, something happens.
"""
