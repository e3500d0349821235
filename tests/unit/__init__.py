"""One small thing each, without servers."""
