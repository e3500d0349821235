"""One lane for each partition: inbox, restore and handling of its commands."""
