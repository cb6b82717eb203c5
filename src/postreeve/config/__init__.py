"""The one TOML file: a typed model, a loader that reports every mistake at once, the assembled Settings.

PURE: text in, values out; reading files, certificates and secrets is `app`'s part. Paths in the file may be relative to
the directory of the file.

Start reading at `model`, which is the reference of all settings; `loader` reads, `consistency` cross-checks, `assemble`
turns the result into the Settings of the packages below, `reference` writes documentation and the default file.
"""
