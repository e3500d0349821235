"""All tests; a folder a kind."""
