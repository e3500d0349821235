"""Live delivery: the WebSocket session and the long poll."""
