"""Do the rules in force let mail pass, and nothing else? A Scene in, findings out (FW001 to FW030).

PURE. Start reading at `checklist`, which lists every check; `reach` says what a ruleset does with all addresses at
once; one module per subject.
"""
