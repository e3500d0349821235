"""The sink that indexes the text of messages for search."""
