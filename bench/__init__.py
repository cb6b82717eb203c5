"""Benchmarks: `python -m bench` runs postreeve beside Debian's Postfix; `bench/micro_*.py` measure single parts.

Both servers run on loopback with a private configuration in a temporary directory, sync every message before 250,
and take turns; medians and ratios are printed, because one machine's absolute figures tell little.
"""
