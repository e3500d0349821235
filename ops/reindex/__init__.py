"""`im reindex`: build the search index again from the log while searches go on."""
