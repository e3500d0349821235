"""The HTTP protocol: answers, queries and bodies, for the gateway and for its clients."""
