"""The client SDK that follows one's own sync timeline, from Kafka, with a cursor."""
