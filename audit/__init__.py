"""`im verify`: audit every copy of the data against the log of conversation timelines.

| files | content |
|---|---|
| `log.py`, `conversation.py`, `digests.py` | im.timeline, folded into the expected content |
| `open_command.py`, `seen.py` | the last command of a conversation; the entries found in a copy |
| `expected_audience.py`, `sent_entries.py` | the recipients of each entry, from the folded log |
| `numbered.py` | the numbers of membership periods |
| `rule_names.py`, `rules.py`, `member_rules.py` | the rules of each entry |
| `reply_rules.py`, `reply_records.py` | the rules of each reply |
| `input.py`, `entry_matching.py`, `command_outcome.py` | compare im.messages with its outcomes |
| `input_records.py`, `input_readers.py` | the records of im.messages and their dead letters |
| `store.py`, `member_rows.py`, `read_marks.py` | compare tables with the folded log |
| `index.py` | compares the search index with the folded log |
| `sync_log.py`, `sync_shards.py`, `deliveries.py` | compare im.sync with the recipients |
| `inline_records.py`, `floors.py` | records without an entry; records that may have expired |
| `sync_store.py`, `sync_buckets.py`, `sync_expiry.py` | compare tables with im.sync |
| `missing_rows.py` | the deliveries without a row |
| `sources.py`, `real_sources.py` | the port for the data, and the real servers |
| `topic_readers.py`, `scan.py`, `index_documents.py` | stream topics, tables and the index |
| `checks.py`, `report.py` | collect the differences |
| `audit.py` | the order of the checks, and the waits between them |

`ops.commands.verify` is the command. The audit imports nothing from the sequencer. It
shares `schemas` and `backends`.
The checks are plain functions over iterables of rows; only the readers know a server.
"""
