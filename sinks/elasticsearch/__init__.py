"""The sink that makes the text of messages searchable."""
