"""`im verify`: an audit of what is there, against the log of conversation timelines.

    log.py            im.timeline, folded into what every other place has to hold
    conversation.py   one conversation of it
    rules.py          what must be so of each entry, given those before it
    reply_rules.py    what must be so of each reply, given the log
    input.py          im.messages                                     against its outcomes
    numbered.py       the numbers of membership periods
    audience.py       who has to get which entries, from the folded log
    store.py          the tables message, conversation and membership   against the log
    index.py          the search index                                  against the log
    sync_log.py       im.sync                                           against the audience
    shards.py deliveries.py floors.py     what im.sync holds, for whom, and what it has dropped
    sync_store.py     the table sync                                    against im.sync
    sync_buckets.py sync_expiry.py    the tables sync_bucket, sync_expiry  against the table sync
    marks.py              the table read_mark                           against the log and im.sync
    topics.py scan.py documents.py    read Kafka, Cassandra and Elasticsearch, in streams
    report.py output.py               the differences found, and how they are shown
    audit.py          the whole course, and what it waits for
    command.py        the command line

It shares no code with the rooms whose work it audits. Comparing is done by plain functions over
iterables of rows; only the readers know a server.
"""
