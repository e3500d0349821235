"""The pipeline as operators see it: stages, dead letters, and the requests of this gateway."""
