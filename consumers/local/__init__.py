"""A device's own copy of the conversations it may see, and how it is kept whole.

spans       what is missing of a conversation: pure
knowledge   what an entry and an answer of the store tell: pure
rejoining   what is read again when its owner is in again
ports       where records and history come from
store       the copy: a SQLite file, entries and cursor in one transaction
gateway     both ports over HTTP
live        the sync timeline told over a WebSocket, and heads with it
kafka       the sync timeline straight from the log
device      the loop that follows, fills in, and shows
"""
