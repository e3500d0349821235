"""The keys that check bearer tokens: from a secret, a file or a URL."""
