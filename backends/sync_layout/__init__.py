"""The two layouts of the sync topics: shards, or a topic for each recipient."""
