"""Metrics, liveness and readiness of one process, at the operators' address."""
