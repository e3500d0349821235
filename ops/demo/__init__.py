"""A short conversation, played through the SDK and looked at from every side."""
