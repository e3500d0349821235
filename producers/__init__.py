"""The client SDK that sends: command ids, a durable outbox, and the publisher."""
