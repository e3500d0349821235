"""Decode and check the commands on ``im.messages``, and give each the next SeqId."""
