"""The tokens that a search compares: one function for messages and for queries.

    characters.py   invisible characters, and characters that count as equal
    folding.py      makes width, case and compatibility forms equal
    tokens.py       splits a text into tokens

docs/search.md describes the rule.
"""

from backends.search_text.characters import visible_characters
from backends.search_text.tokens import LONGEST_TOKEN, has_run, readings_of

__all__ = ["LONGEST_TOKEN", "has_run", "readings_of", "visible_characters"]
