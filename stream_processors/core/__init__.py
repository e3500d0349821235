"""What the sequencer decides, as a pure function: no clock, no random number, no I/O, no Faust.

    decide(limits, conversation, command, at) -> Outcome     what is to happen, and what changes
    Conversation.apply(change)                               the only way that state changes

The same commands in the same order give the same outcomes. A restart is: apply all changes that
were logged. So both can be run over a list, and that is how they are tested.
"""
