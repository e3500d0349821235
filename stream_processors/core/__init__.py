"""The sequencer's decisions as pure functions: no clock, no random numbers, no I/O, no Faust.

    decide(limits, conversation, command, at) -> Decision    the entries and changes, or a reply
    Accept.apply_to(conversation, strangers)                 applies the changes to the state

The same commands in the same order give the same decisions, and a restart applies the logged
changes again. Neither function needs a server: the tests run them on lists of commands.
"""
