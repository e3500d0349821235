"""A device's local copy of its owner's conversations, and the client that keeps it complete.

spans       SeqId arithmetic: what is missing in a conversation; pure
knowledge   what a device learns from entries and from the store; pure
rejoining   what a device reads again after its owner has rejoined
ports       interfaces of the sync timeline, the store and the registry
store       the local store: a SQLite file, entries and cursor in one transaction
gateway     the sync timeline and the store over HTTP
live        the sync timeline and heads, pushed over a WebSocket
kafka       the sync timeline from Kafka
device      the loop that follows the timeline, fills gaps, and shows items
"""
