"""Actions that must be impossible for every client."""
