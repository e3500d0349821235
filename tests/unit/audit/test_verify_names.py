"""The names of differences are documented, and each documented name can be produced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

from audit.rule_names import RuleName
from tests.support.audited_building import system_of
from tests.support.damage import BETWEEN_EPOCHS, DAMAGES, Pick
from tests.support.placing import PLACINGS
from tests.support.sequencing import run
from tests.support.stories import STORY

PAGE: Final = Path(__file__).parents[3] / "docs" / "verify.md"
CHOICES: Final = 3
"""With this number of choices, a damage with several names produces all of them."""


def test_the_page_has_exactly_the_names_that_damages_and_rules_produce() -> None:
    """The page lists exactly the names that the damages and the rules produce.

    Each rule has a log that breaks the rule, see `tests.unit.audit.test_verify_rules`.
    """
    rows = re.findall(r"^\| `([a-z-]+)` \| `([a-z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    produced = {("log", rule) for rule in get_args(RuleName)} | {("log", "no_data")}
    for name, damage in (DAMAGES | BETWEEN_EPOCHS).items():
        layout = PLACINGS["later epochs" if name in BETWEEN_EPOCHS else "one epoch"]
        for choice in range(CHOICES):
            expected = damage(system_of(run(STORY), layout), Pick([choice] * 4))
            produced.add((expected.check, expected.kind))

    assert len(rows) == len(set(rows))
    assert set(rows) == produced
