"""Small phrases that messages share."""

from __future__ import annotations


class Advice(str):
    """What is said in the same words at every run; files keep it whole, a screen may show it in short.

    Args:
        text: whole.
        short: what is enough for those who have read it.
    """

    short: str

    def __new__(cls, text: str, short: str) -> Advice:
        made = super().__new__(cls, text)
        made.short = short
        return made


def counted(number: int, one: str, many: str = "") -> str:
    """``1 image``, ``2 images``; ``many`` where an s at the end is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: list[str], most: int) -> str:
    """The first ``most`` names, and how many more there are."""
    more = len(names) - most
    return f"{', '.join(names[:most])}{f' and {more} more' if more > 0 else ''}"
