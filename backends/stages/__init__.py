"""The stages of the pipeline as the broker reports them: lag, delay, counts, dead letters."""
