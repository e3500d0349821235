"""The client SDK that sends: ids, an outbox that survives a crash, and the publisher."""
