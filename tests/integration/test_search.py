"""The search rule on the real Elasticsearch: messages, queries, and the matches between them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import pytest

from backends.elasticsearch.index import create_index, elasticsearch_client, index_name
from backends.search_text import LONGEST_TOKEN, has_run, readings_of
from gateway.reads.search_terms import MAX_TERMS, MAX_TOKENS, parse_query
from gateway.store.elastic_index import ElasticIndex
from gateway.store.index_port import SearchRequest
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.number_types import Milliseconds, SeqId
from schemas.settings import Settings
from schemas.visibility import Period
from tests.support.gateway_rows import search_index
from tests.support.gateway_store import message
from tests.support.glyphs import JUNK, LETTERS, SINGLES, SPACE
from tests.support.search_cases import CASES
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

RANDOM_TEXTS: Final = 300
AT: Final = 1_700_000_000_000


def random_text(seed: int) -> str:
    """Up to ten glyphs with invisible characters between them."""
    chosen = random.Random(seed)
    glyphs = chosen.choices([*LETTERS[:4], *SINGLES[::7], SPACE], k=chosen.randint(1, 10))
    return "".join(chosen.choice(glyph.spellings) + chosen.choice(JUNK) for glyph in glyphs)


TEXTS: Final = [
    *(case.text for case in CASES),
    *(random_text(seed) for seed in range(RANDOM_TEXTS)),
    "x" * (LONGEST_TOKEN + 1),
    "天" * (MAX_TOKENS + 1) + " " + "\U0001d54f" * LONGEST_TOKEN,
]


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Settings]:
    """An index for this module, with `TEXTS` in one conversation, from SeqId 1 on."""
    settings = servers.settings()
    with search_index(settings) as put_documents:
        put_documents([message("c", seq, text=text) for seq, text in enumerate(TEXTS, 1)])
        yield settings


async def found(index: ElasticIndex, query: str) -> set[str]:
    """All texts that a query finds."""
    asked = SearchRequest(parse_query(query), "c", None, None, len(TEXTS))
    hits = await index.newest(asked, {"c": [Period(SeqId(1))]}, None, len(TEXTS))
    return {TEXTS[place.seq - 1] for place, _ in hits}


def expected(query: str) -> set[str]:
    """All texts that the rule finds."""
    terms = parse_query(query).terms
    return {text for text in TEXTS if all(has_run(readings_of(text), term) for term in terms)}


async def test_search_answers_each_case_of_the_rule(deployment: Settings) -> None:
    """Each case's message is found by its queries, and not by its other queries."""
    index = ElasticIndex(deployment)
    try:
        for case in CASES:
            for query in [*case.finds, case.text]:
                assert case.text in await found(index, query), (case.text, query)
            for query in case.misses:
                assert case.text not in await found(index, query), (case.text, query)
    finally:
        await index.stop()


async def test_the_server_finds_what_the_rule_finds(deployment: Settings) -> None:
    """For random queries, quoted or not, the server finds exactly the rule's messages."""
    index = ElasticIndex(deployment)
    chosen = random.Random(5)
    queries = [random_text(seed)[: chosen.randint(1, 6)] for seed in range(300, 450)]
    queries += [f'"{random_text(seed)}"' for seed in range(0, RANDOM_TEXTS, 6)]
    queries += [TEXTS[-2], TEXTS[-1], "天" * MAX_TOKENS]
    queries.append(" ".join(f"w{number}" for number in range(MAX_TERMS)))
    try:
        for query in queries:
            if readings_of(query.replace('"', "")):
                assert await found(index, query) == expected(query), ascii(query)
    finally:
        await index.stop()


async def test_an_index_of_another_layout_is_refused(servers: Servers) -> None:
    """The sink and the gateway refuse an index of another version with one line that names it."""
    settings = servers.settings()
    client = elasticsearch_client(settings)
    name = index_name(settings, Milliseconds(AT))
    client.indices.create(
        index=name,
        mappings={"properties": {"text": {"type": "text"}}},
        aliases={settings.index_alias: {}},
    )
    index = ElasticIndex(settings)
    try:
        with pytest.raises(ConfigurationError, match=f"index {name} was made by another version"):
            create_index(client, settings, Milliseconds(AT))
        with pytest.raises(ServerUnavailable, match="another version"):
            await index.newest(
                SearchRequest(parse_query("x"), None, None, None, 1),
                {"c": [Period(SeqId(1))]},
                None,
                1,
            )
        assert not await index.reachable()
    finally:
        await index.stop()
        client.indices.delete(index=name)
        client.close()
