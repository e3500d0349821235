"""`im load`: send a chat log through the SDK, as if its people spoke now.

`source` reads files, `chat_lines` converts lines to commands (pure), `ledger` records the outcome
of each command, `sequencing` and `storing` wait for the stages, and `loader` runs all steps in
order. `ops.commands.load` is the command.
"""
