"""Events for integrators: webhooks."""
