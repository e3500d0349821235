"""The identity of a deployment, recorded in the log, the store and the index."""
