"""What the gateway reads from Kafka: ends, positions, and wake-ups for new records."""
