#!/usr/bin/env python3
"""Write all that repeats the command line: option tables, descriptors, tables of exit codes.

    python scripts/generate_docs.py            after options or exit codes changed
    python scripts/generate_docs.py --check    lists files that are out of date, and fails

Everything is read from the parser, and so from the help texts of the options, from the registry
of analyses, and from :class:`~bids_decoder.errors.ExitCode`. Text around the tables is kept:

* ``docs/usage.md``: one table per group of options, between ``<!-- options: TITLE -->`` and
  ``<!-- end -->``, the stages of each level, the defaults of all settings (their comments are
  kept), and the list of contents. A new group gets a chapter before the last group;
* ``docs/usage.md``: the table of exit codes;
* ``boilerplate/bids_decoder.boutiques.json``: inputs, groups, command line, version, exit codes;
* ``brainlife/config.json.example``: all options that brainlife does not set itself.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bids_decoder import __version__  # noqa: E402
from bids_decoder.analyses.registry import section_kinds, stages_of_level  # noqa: E402
from bids_decoder.cli.parser import RIVALS, build_parser  # noqa: E402
from bids_decoder.config import LEVELS, default_settings  # noqa: E402
from bids_decoder.errors import ExitCode  # noqa: E402
from bids_decoder.options import NumberReader  # noqa: E402

MADE_BY_THE_PROGRAM = ("--work-dir", "--bids-database-dir")
"""Paths that need not exist before the call."""

FROM_THE_COMMAND_LINE = (("execution", "bids_dir"), ("execution", "output_dir"))
"""Settings that no file holds."""

NO_INPUTS = ("--help", "--version", "--demo")
"""Options that a descriptor does not offer."""

NOT_OF_BRAINLIFE = (
    "--derivatives", "--betas", "--work-dir", "--clean-workdir", "--bids-database-dir", "--notrack",
    "--verbose", "--log-format", "--write-graph", "--dry-run", "--reports-only",
    "--boilerplate-only", "--config-file", "--use-plugin", "--nprocs", "--mem",
)
"""Options that the App sets itself, or that make no sense in it.

``betas`` names single-trial responses there; ``--betas`` goes into ``more_options``.
"""

Action = argparse.Action


def long_flag(action: Action) -> str:
    """Return the first long name of an option."""
    return next(flag for flag in action.option_strings if flag.startswith("--"))


def options(parser: argparse.ArgumentParser) -> list[Action]:
    """Return all options, without positional arguments."""
    return [action for action in parser._actions if action.option_strings]


def sentence(text: str) -> str:
    """Return *text* with a capital at its start."""
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------------------------- Markdown


def table(*rows: tuple[str, ...]) -> str:
    """Return a Markdown table; the first row is its head."""
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    head, *body = (f"| {' | '.join(row)} |" for row in escaped)
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def option_table(actions: list[Action]) -> str:
    """Return the table of one group of options."""
    return table(("option", "meaning"), *(
        (", ".join(f"`{flag}`" for flag in action.option_strings), sentence(action.markdown))
        for action in actions
    ))


def code_table() -> str:
    """Return the table of exit codes."""
    return table(("code", "meaning"), *((str(int(code)), code.meaning) for code in ExitCode))


def stage_table() -> str:
    """Return the stages of each level, in the order of the registry."""
    return table(("level", "stages"), *(
        (f"`{level}`", ", ".join(f"`{stage}`" for stage in stages_of_level(level)))
        for level in LEVELS
    ))


def between(text: str, name: str, content: str) -> str:
    """Return *text* with what stands between the marks *name* and ``end`` replaced."""
    start = f"<!-- {name} -->\n"
    before, found, after = text.partition(start)
    if not found:
        raise ValueError(f"there is no mark {start.strip()!r}")
    return f"{before}{start}{content}\n{after[after.index('<!-- end -->'):]}"


def usage(text: str) -> str:
    """Return ``docs/usage.md`` with the tables of the parser."""
    groups = [(g.title, g._group_actions) for g in build_parser()._action_groups]
    groups = [(title, found) for title, found in groups if found and found[0].option_strings]
    last = f"\n## {groups[-1][0]}\n"
    for title, found in groups:
        if f"<!-- options: {title} -->" not in text:
            heading = sentence(re.sub(r"^(Specific o|O)ptions for ", "", title))
            chapter = f"\n## {heading}\n\n<!-- options: {title} -->\n<!-- end -->\n"
            text = text.replace(last, chapter + last)
        text = between(text, f"options: {title}", option_table(found))
    known = {title for title, _ in groups}
    stale = set(re.findall(r"<!-- options: (.*) -->", text)) - known
    if stale:
        raise ValueError(f"docs/usage.md has tables of groups that are gone: {sorted(stale)}")
    for name, content in {
        "exit codes": code_table(), "stages": stage_table(), "contents": contents(text),
    }.items():
        text = between(text, name, content)
    return with_settings(text)


def with_settings(text: str) -> str:
    """Return *text* with the defaults of all settings in its TOML block; comments stay."""
    before, start, rest = text.partition("```toml\n")
    block, end, after = rest.partition("```")
    return before + start + settings_block(block) + end + after


def settings_block(old: str) -> str:
    """Return the defaults as TOML, with the comments of an older block."""
    comments = dict(_comments(old))
    settings = default_settings(section_kinds())
    groups = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "sections"}
    groups |= settings.sections
    lines = []
    for name, group in groups.items():
        if is_dataclass(group):
            lines += ["", *_table(name, group, comments)]
        else:
            lines.insert(0, f"{name} = {json.dumps(group)}")
    return "\n".join(lines) + "\n"


def _table(name: str, group: Any, comments: dict[tuple[str, str], str]) -> list[str]:
    """Return the lines of one table: values, what is not set, and tables within it."""
    values = {f.name: getattr(group, f.name) for f in fields(group)}
    values = {k: v for k, v in values.items() if (name, k) not in FROM_THE_COMMAND_LINE}
    lines = [_commented(f"[{name}]", comments.get((name, "")))]
    lines += [
        _commented(f"{key} = {_toml(value)}", comments.get((name, key)))
        for key, value in values.items() if value is not None and not isinstance(value, dict)
    ]
    absent = [key for key, value in values.items() if value is None]
    if absent:
        notes = (f"{key} {comments.get((name, key), '')}".strip() for key in absent)
        lines.append(f"# not set: {', '.join(notes)}")
    for key in (key for key, value in values.items() if isinstance(value, dict)):
        lines.append(_commented(f"[{name}.{key}]", comments.get((f"{name}.{key}", ""))))
    return lines


def _comments(block: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the comments of a block by table and setting."""
    table = ""
    for line in block.splitlines():
        head, _, comment = line.partition("#")
        if line.startswith("["):
            table = head.strip().strip("[]")
        if line.startswith("# not set:"):
            for key, note in re.findall(r"(\w+)\s*(\([^)]*\))?", line.partition(":")[2]):
                yield (table, key), note
        elif comment:
            yield (table, "" if line.startswith("[") else head.split()[0]), comment.strip()


def _commented(line: str, comment: str | None) -> str:
    return f"{line:<30} # {comment}" if comment else line


def _toml(value: Any) -> str:
    # What JSON writes for these types is TOML, too.
    return json.dumps(value)


def contents(text: str) -> str:
    """Return links to all chapters."""
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = (re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return "\n".join(
        f"* [{heading}](#{anchor})" for heading, anchor in zip(headings, anchors, strict=True)
    )


# ------------------------------------------------------------------------------------- descriptors


def boutiques(text: str) -> str:
    """Return the Boutiques descriptor with the options of the parser."""
    parser, descriptor = build_parser(), json.loads(text)
    inputs = [positional_input(action) for action in parser._actions if not action.option_strings]
    inputs += [option_input(a) for a in options(parser) if long_flag(a) not in NO_INPUTS]
    descriptor |= {
        "tool-version": __version__,
        "command-line": " ".join(["bids_decoder", *(entry["value-key"] for entry in inputs)]),
        "inputs": inputs,
        "groups": exclusive_groups(parser),
        "error-codes": [
            {"code": int(code), "description": sentence(code.meaning) + "."}
            for code in ExitCode if code is not ExitCode.OK
        ],
    }
    return json.dumps(descriptor, indent=2, ensure_ascii=False) + "\n"


def key(action: Action) -> str:
    """Return the identifier of an option."""
    return long_flag(action).removeprefix("--").replace("-", "_")


def exclusive_groups(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Return the options that exclude each other."""
    members = [[key(a) for a in g._group_actions] for g in parser._mutually_exclusive_groups]
    members += [list(names) for _, *names in RIVALS]
    return [
        {"id": "_or_".join(names), "name": sentence(" or ".join(names).replace("_", " ")),
         "members": names, "mutually-exclusive": True}
        for names in members
    ]


def positional_input(action: Action) -> dict[str, Any]:
    """Return the entry of a positional argument."""
    name = action.dest.partition(".")[2]
    entry = {
        "id": name, "name": sentence(name.replace("_", " ")), "optional": False,
        "type": "File" if name == "bids_dir" else "String", "value-key": f"[{name.upper()}]",
        "description": sentence(action.help) + ".",
    }
    if action.nargs == "+":
        entry |= {"list": True, "value-choices": list(LEVELS)}
    return entry


def option_input(action: Action) -> dict[str, Any]:
    """Return the entry of an option."""
    name = key(action)
    entry = {
        "id": name, "name": sentence(name.replace("_", " ")),
        "description": sentence(action.help.replace("%%", "%")) + ".", "optional": True,
        "value-key": f"[{name.upper()}]", "command-line-flag": long_flag(action),
        "type": "Flag" if action.nargs == 0 else "String",
    }
    if isinstance(action.type, NumberReader):
        entry |= {"type": "Number", "minimum": action.type.minimum}
        if action.type.kind is int:
            entry["integer"] = True
    is_path = str(action.metavar).startswith(("PATH", "FILE", "FOLDER")) and action.nargs is None
    if is_path and long_flag(action) not in MADE_BY_THE_PROGRAM:
        entry["type"] = "File"
    if action.choices:
        entry["value-choices"] = list(action.choices)
    if action.nargs == "+":
        entry["list"] = True
    return entry


def brainlife(text: str) -> str:
    """Return the example of a configuration, with an empty value for each new option.

    An empty text, an empty list and ``false`` leave an option out.
    """
    old = json.loads(text)
    new = {name: old[name] for name in ("bids", "fmriprep", "betas", "analysis_level")}
    for action in options(build_parser()):
        if long_flag(action) not in NO_INPUTS + NOT_OF_BRAINLIFE:
            empty = {0: False, "+": []}.get(action.nargs, "")
            new[key(action)] = old.get(key(action), empty)
    new |= {name: old[name] for name in ("more_options", "_inputs")}
    return json.dumps(new, indent=2) + "\n"


# --------------------------------------------------------------------------------------- the files

WRITERS: dict[str, Callable[[str], str]] = {
    "docs/usage.md": usage,
    "boilerplate/bids_decoder.boutiques.json": boutiques,
    "brainlife/config.json.example": brainlife,
}


def outdated() -> dict[Path, str]:
    """Return the files that are out of date, with what should be in them."""
    found = {}
    for name, write in WRITERS.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if (new := write(text)) != text:
            found[path] = new
    return found


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if outdated")
    check, found = parser.parse_args().check, outdated()
    for path, text in found.items():
        word = "out of date" if check else "written"
        sys.stdout.write(f"{word}: {path.relative_to(ROOT)}\n")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
