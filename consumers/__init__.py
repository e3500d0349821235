"""The client SDK that reads one person's sync timeline from Kafka, with a cursor."""
