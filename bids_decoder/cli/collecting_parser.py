"""Argparse that reads a command line to its end and tells all that is wrong with it."""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any, Never

from bids_decoder.config import LEVELS
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, FindingsError, UsageError
from bids_decoder.options import FIX_MARK, one_of

_EXAMPLE = "call it as: bids_decoder BIDS_DIR OUTPUT_DIR participant [options]"

_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")

_ALIKE = 0.77  # ratio of difflib from which a name may be meant by another one
_NEARLY_SAME = 0.9
_MOST_OFFERED = 3


def as_error(problems: Sequence[Finding]) -> BidsDecoderError:
    """Return the error that tells all problems with the options at once.

    Parameters
    ----------
    problems : sequence of Finding
        At least one.

    Returns
    -------
    BidsDecoderError
        A ``UsageError`` for one problem, a ``FindingsError`` for several.
    """
    if len(problems) > 1:
        return FindingsError(problems)
    (found,) = problems
    return UsageError(found.what, found.why, found.fix, found.code)


class CollectingParser(argparse.ArgumentParser):
    """Argparse that collects this program's errors, and reads ``_`` in an option as ``-``."""

    def parse_all(self, words: list[str]) -> tuple[dict[str, Any], list[Finding]]:
        """Read a command line to its end, whatever is wrong with it.

        Returns
        -------
        given : dict of str to object
            Values by ``dest``, without those that are wrong.
        problems : list of Finding

        Raises
        ------
        UsageError, FindingsError
            When positional arguments are missing.
        """
        problems: list[Finding] = []
        most_removed = 0
        while True:
            try:
                namespace, rest = self.parse_known_args(words)
            except UsageError as error:
                shorter = self._without(words, error.finding)
                # A list option that took the positional arguments is already reported.
                if shorter != words or most_removed < 3:
                    problems.append(error.finding)
                if shorter == words:
                    # Without its positional arguments the command line is not read further.
                    unknown = [word for word in words if self._is_unknown(word)]
                    raise as_error([*problems, *self._unknown(unknown)]) from error
                most_removed = max(most_removed, len(words) - len(shorter))
                words = shorter
            else:
                return vars(namespace), [*problems, *self._unknown(rest)]

    def _without(self, words: list[str], problem: Finding) -> list[str]:
        """Return the command line without an option that is wrong, or with another level."""
        if problem.code == ExitCode.UNKNOWN_LEVEL:
            return [LEVELS[0] if f"{word!r}" in problem.what else word for word in words]
        flags = problem.what.split("/")
        for number, word in enumerate(words):
            flag, equals, _ = _hyphenated(word).partition("=")
            if flag in flags:
                n_values = 0 if equals else self._n_values(flag, words[number + 1:])
                return words[:number] + words[number + 1 + n_values:]
        return words

    def _n_values(self, flag: str, following: list[str]) -> int:
        nargs = self._option_string_actions[flag].nargs
        most = {None: 1, "?": 1, "+": len(following)}.get(nargs, 0)
        return len(list(itertools.takewhile(_is_value, following[:most])))

    def _is_unknown(self, word: str) -> bool:
        flag = _hyphenated(word).partition("=")[0]
        return flag.startswith("--") and flag not in self._option_string_actions

    def _unknown(self, rest: Sequence[str]) -> list[Finding]:
        """Report each option that does not exist, with the values that follow it."""
        groups: list[list[str]] = []
        for word in rest:
            if word.startswith("-") or not groups:
                groups.append([])
            groups[-1].append(word)
        return [
            Finding(" ".join(group), "not understood", self._suggestion(group[0]), ExitCode.USAGE)
            for group in groups
        ]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read a command line whose options may be written with _."""
        words = [_hyphenated(word) for word in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> Never:
        """Raise what argparse says, told as what, why and how to mend it."""
        why, _, fix = message.partition(FIX_MARK)
        what = "command line"
        if why.startswith("argument "):
            what, _, why = why.removeprefix("argument ").partition(": ")
        choice = _CHOICE.fullmatch(why)
        if choice:
            known = re.findall(r"[^\s',]+", choice[2])
            why, fix = f"'{choice[1]}' is none of its values", one_of(choice[1], known)
        if why in ("expected one argument", "expected at least one argument"):
            why, fix = "has no value", f"give it as {self._form(what.split('/')[-1])}"
        raise UsageError(what, why, fix or f"{_EXAMPLE}; bids_decoder --help lists all options")

    def _form(self, flag: str) -> str:
        """Return an option with what stands for its values in the help."""
        action = self._option_string_actions[flag]
        values = action.metavar or "|".join(map(str, action.choices or ["VALUE"]))
        return f"{flag} {values}" + (" ..." if action.nargs == "+" else "")

    def _suggestion(self, unknown: str) -> str:
        flag = re.match(r"-*([^\s=]*)", unknown)[1]
        near = _nearest(flag, [
            known.removeprefix("--") for known in self._option_string_actions
            if known.startswith("--")
        ])
        if near:
            return f"did you mean {' or '.join(f'--{name}' for name in near)}?"
        return f"{_EXAMPLE}; bids_decoder --help lists all options"


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """Return the known name that differs in a letter or two, else those with all words of a name.

    Where there is none either, the one that is spelled most alike, if it is alike enough.

    Examples
    --------
    >>> known = ["participant-label", "n-seeds", "random-seed", "help", "n-cpus"]
    >>> [_nearest(name, known) for name in ("seed", "partcipants", "alpha", "gpu")]
    [['random-seed'], ['participant-label'], [], []]
    """
    words = set(name.split("-"))
    having = [one for one in known if words <= set(one.split("-"))]
    # Many write the first word only, as --participant.
    likeness = {
        one: max(difflib.SequenceMatcher(None, name, part).ratio()
                 for part in (one, one.partition("-")[0]))
        for one in known
    }
    alike = [one for one in sorted(known, key=lambda one: -likeness[one])
             if likeness[one] >= _ALIKE]
    if alike and likeness[alike[0]] >= _NEARLY_SAME:
        return alike[:1]
    return having[:_MOST_OFFERED] or alike[:1]


def _is_value(word: str) -> bool:
    return not word.startswith("-") or re.match(r"-[\d.]", word) is not None


def _hyphenated(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value
