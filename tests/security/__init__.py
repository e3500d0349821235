"""What must not be possible, whoever asks."""
