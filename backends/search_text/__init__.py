"""What a search compares: one function for messages and for queries.

    characters.py   what a reader does not see, and what is alike
    folding.py      width, case and compatibility forms made equal
    tokens.py       the pieces of a text

docs/search.md has the rule.
"""

from backends.search_text.characters import visible
from backends.search_text.tokens import LONGEST_TOKEN, has_run, readings_of

__all__ = ["LONGEST_TOKEN", "has_run", "readings_of", "visible"]
