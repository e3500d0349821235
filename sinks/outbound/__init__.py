"""Requests to HTTP servers that do not belong to the deployment."""
