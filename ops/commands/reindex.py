"""`im reindex`: build the search index again while searches go on."""

from __future__ import annotations

from backends.elasticsearch.index import elasticsearch_client
from backends.identity.index_claim import claim_for_rebuild
from backends.identity.log_identity import check_log
from ops.console import Json, emit, out, progress
from ops.deployment.running import live_settings
from ops.reindex.index_build import Reindexed, build_index


def reindex(*, json: Json = False) -> None:
    """Build the search index again from the log, beside the old one, and switch to it.

    Searches and all other processes go on. Run the command again if it was interrupted.
    """
    settings = live_settings()
    with elasticsearch_client(settings) as client, progress("reindex") as report:
        claim_for_rebuild(client, settings, check_log(settings))
        done = build_index(client, settings, report)
    emit(done) if json else out.print(_line(done), markup=False)


def _line(done: Reindexed) -> str:
    if done.was_interrupted:
        return f"generation {done.generation} was built before; its switch is complete now"
    refused = f", {done.refused:,} refused" if done.refused else ""
    return (
        f"generation {done.generation}: {done.records:,} records in {done.seconds:.0f} s{refused};"
        f" the sink waited {done.blocked_seconds:.1f} s"
    )
