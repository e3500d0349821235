"""`im load`: a chat log, sent through the SDK as if its people spoke now.

`lines` turns lines into commands (pure), `source` reads files, `ledger` knows what became of each
command, `sequencing` and `storing` wait for the stages, `loader` runs all of it in order, and
`command` is what the command line calls.
"""
