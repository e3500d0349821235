"""The pages in the browser know each name that the product sends to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from backends.kafka.commit_notes import NOTED_COUNTS
from backends.stages.stage_names import SOURCES
from backends.stages.webhook_log import WEBHOOKS_STAGE
from schemas.errors import REJECTION_CODES

PAGE: Final = Path(__file__).parents[3] / "gateway" / "page"


def words(file: str, language: str) -> set[str]:
    """The names that have a word in a language."""
    source = (PAGE / file).read_text(encoding="utf-8")
    found = re.search(rf"^  {language}: \{{\n(.*?)^  \}},$", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(re.findall(r'^    "?([\w-]+)"?:', found[1], re.MULTILINE))


def test_the_page_about_the_pipeline_has_each_stage() -> None:
    """`STAGES` of the page are the stages of the product, and all webhooks as one stage."""
    source = (PAGE / "pipeline.js").read_text(encoding="utf-8")
    found = re.search(r"^const STAGES = \[(.*?)\];", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert re.findall(r'"([\w-]+)"', found[1]) == [*SOURCES, WEBHOOKS_STAGE]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_stage_and_each_count_has_a_word(language: str) -> None:
    """A stage has a name and a hint, and a count of `CommitNote` has a word."""
    counts = set(NOTED_COUNTS)
    shown = (*SOURCES, WEBHOOKS_STAGE)
    stages = {name for stage in shown for name in (stage, f"{stage}Hint")}
    assert counts | stages <= words("pipeline-words.js", language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_rejection_code_has_a_word(language: str) -> None:
    """A person reads why a command was rejected, not the name of the code."""
    assert set(REJECTION_CODES) <= words("words.js", language)
