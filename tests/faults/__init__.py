"""The behaviour when parts of the pipeline are stopped, killed or broken."""
