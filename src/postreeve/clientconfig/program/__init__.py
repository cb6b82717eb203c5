"""Kinds put together from parts: one program's rules, and the notations that its settings are written in.

PURE. Start reading at `program`; `group` is how a program's rules look settings up, `notation` how they are changed,
`form` what several programs share.
"""
