"""The AsyncAPI 3.0 document: the topics, and the frames of a live connection."""
