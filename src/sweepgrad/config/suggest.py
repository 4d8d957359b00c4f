"""Suggestions for mistyped words: 'Did you mean X?'."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from sweepgrad.errors import UserError

_SYNONYMS = {  # what other libraries call a key
    "learning_rate": "lr",
    "random_state": "seed",
    "hidden_layer_sizes": "hidden",
    "layers": "hidden",
    "max_iter": "epochs",
    "num_epochs": "epochs",
    "alpha": "weight_decay",
    "l2": "weight_decay",
}
_AS_GOOD = 0.1  # candidates this close to the best score are all named
_AT_MOST = 5
_LONGEST = 100  # characters of a mistyped word that are compared


def nearest(word: str, among: Sequence[str], prefix: str = "") -> str:
    """Return ' Did you mean X?' for the most similar of the words, with `prefix` before it; or nothing."""
    close = difflib.get_close_matches(word[:_LONGEST], among, n=1, cutoff=0.5)
    return f" Did you mean {prefix}{close[0]}?" if close else ""


def nearest_option(option: str, among: Sequence[str]) -> str:
    """Return ' Did you mean X?' for an unknown option, or nothing.

    Options that begin with it come first. One or two letters get no other, since they resemble too many.
    """
    if option.startswith("--") and (longer := [known for known in among if known.startswith(option)]):
        return f" Did you mean {_or(longer)}?"
    return nearest(option, among) if len(option.lstrip("-")) > 2 else ""


def nearest_keys(unknown: str, known: Iterable[tuple[str, str]]) -> str:
    """Return ' Did you mean X, Y or Z?' for an unknown dotted key, best first; or nothing.

    A key is similar if the last parts are; one in the same section ranks before others.

    Arguments:
        known: dotted keys, each with a note that is printed behind it or "".
    """
    section, _, name = unknown.rpartition(".")
    scores: dict[str, float] = {}
    for key, note in known:
        other, _, last = key.rpartition(".")
        bonus = _same_section(section, other)
        score = _similarity(name, last)
        if score >= (0.5 if bonus else 0.7) and key != unknown:
            scores.setdefault(f"{key} ({note})" if note else key, score + bonus)
    if not scores:
        return ""
    best = max(scores.values())
    ranked = sorted((key for key in scores if scores[key] > best - _AS_GOOD), key=lambda key: -scores[key])
    return f" Did you mean {_or(ranked[:_AT_MOST])}?"


def _similarity(word: str, known: str) -> float:
    word = word[:_LONGEST]
    if known in (word, _SYNONYMS.get(word)):
        return 1.0
    part_of_it = len(word) > 2 and (known.startswith(word) or word in known.split("_"))
    ratio = difflib.SequenceMatcher(None, word, known).ratio()
    return max(ratio, 0.85) if part_of_it else ratio


def _same_section(section: str, other: str) -> float:
    if section == other:
        return 0.3
    if section and (other.startswith(section) or difflib.SequenceMatcher(None, section, other).ratio() > 0.6):
        return 0.2
    return 0.0


def _or(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


class Arguments(argparse.ArgumentParser):
    """An argument parser that suggests options, and raises UserError instead of exiting.

    Attributes:
        more_options: options that are handled elsewhere, to be suggested too.
    """

    more_options: tuple[str, ...] = ()

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `ArgumentParser`; options must be written in full: --ag is not --again."""
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UserError: always.
        """
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = next((word for word in unknown.split() if word.startswith("-")), unknown.split()[0])
            message = f"unexpected argument {word}."
            if word.startswith("-"):
                option = word.partition("=")[0]
                options = [*self._option_string_actions, *self.more_options]
                message = f"unknown option {option}.{nearest_option(option, options)}"
        raise UserError(
            f"{message.removesuffix('.')}{'' if message.endswith('?') else '.'} See {self.prog} --help"
        )
