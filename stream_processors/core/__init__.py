"""The sequencer's decisions as pure functions: no clock, no random numbers, no I/O, no Faust.

    decide(limits, conversation, command, at) -> Decision    the entries and changes, or a reply
    Accept.apply_to(conversation, strangers)                 applies the changes to the state

The same commands in the same order give the same decisions. A restart applies all logged changes.
So both run over a list, and the tests do that.
"""
