"""`im load`: send a chat log through the SDK, as if its people spoke now.

`lines` converts lines to commands (pure), `source` reads files, `ledger` records the outcome of
each command, `sequencing` and `storing` wait for the stages, `loader` runs all steps in order, and
`command` is the interface to the command line.
"""
