"""The processes of the pipeline and the `im` command on real servers."""
