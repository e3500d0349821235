"""A device's local copy of its owner's conversations, and the client that keeps it complete.

spans             SeqId arithmetic: what is missing in a conversation; pure
knowledge         what a device learns from entries and from the store; pure
rejoining         what a device reads again after its owner has rejoined
timeline_port     interfaces of the sync timeline, the store and the registry
local_store       a SQLite file: entries and cursor in one transaction
local_change      one transaction on the file; `*_rows` have the tables
gateway_timeline  the sync timeline and the store over HTTP
live_timeline     the sync timeline and heads, pushed over a WebSocket
kafka_timeline    the sync timeline from Kafka
device            the loop that follows the timeline, fills gaps, and shows items
"""
