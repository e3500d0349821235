"""The configuration of schemathesis."""
