"""`im verify`: audit every copy of the data against the log of conversation timelines.

    log.py            im.timeline, folded into the expected content of every copy
    conversation.py   one conversation of the log
    rules.py          the rules of each entry, given the entries before it
    reply_rules.py    the rules of each reply, given the log
    input.py          im.messages                                     against its outcomes
    numbered.py       the numbers of membership periods
    audience.py       the recipients of each entry, from the folded log
    store.py          the tables message, conversation and membership   against the log
    index.py          the search index                                  against the log
    sync_log.py       im.sync                                           against the audience
    shards.py deliveries.py floors.py     the records and recipients of im.sync; its retention
    sync_store.py     the table sync                                    against im.sync
    sync_buckets.py sync_expiry.py    the tables sync_bucket, sync_expiry  against the table sync
    marks.py              the table read_mark                           against the log and im.sync
    topics.py scan.py documents.py    stream Kafka, Cassandra and Elasticsearch
    report.py output.py               the differences, and their output
    audit.py          the order of the checks and their waits
    command.py        the command line

The audit shares no code with the components that it audits. The checks are plain functions over
iterables of rows; only the readers know a server.
"""
