"""The deployment that commands operate: settings, processes, readiness and status."""
