"""Command lines of the pages: what stands in their blocks for shells, and what is set as code in their sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from tests.docs.pages import Block, blocks, documents, is_ours, pages, spans

SHELLS = ("sh", "bash", "console", "")
HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
ASSIGNMENT = re.compile(r"^\w+=")


class Command(NamedTuple):
    """One command. `whole`: as a shell would run it; what is set as code in a sentence may leave out arguments."""

    page: str
    line: int  # from 1, 0 of a sentence's
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def lines(block: Block) -> Iterator[tuple[int, str, str]]:
    """(number from 0, line, here-document) of a block; continued lines are joined. In a console only what follows a prompt is typed."""
    whole, number = block.text.splitlines(), 0
    console = block.language == "console" and any(line.startswith("$ ") for line in whole)
    while number < len(whole):
        start, line = number, whole[number]
        while number + 1 < len(whole) and (line.endswith("\\") or (block.language in ("sh", "bash") and _is_open(line))):
            number += 1
            line = f"{line}\n{whole[number]}" if not line.endswith("\\") else line[:-1] + whole[number]
        here = []
        if found := HEREDOC.search(line):
            while number + 1 < len(whole) and whole[number + 1].strip() != found[2]:
                number += 1
                here.append(whole[number])
            number += 1
        number += 1
        if not console or line.startswith("$ "):
            yield start, line.removeprefix("$ ") if console else line, "\n".join(here)


def _is_open(line: str) -> bool:
    """Whether a quotation goes on in the next line."""
    try:
        split(line)
    except ValueError:
        return True
    return False


def split(line: str) -> list[tuple[str, ...]]:
    """The commands of a line: without operators, redirections, comments and assignments; what `$(…)` and `<(…)` hold are commands, too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if redirected and word != "(":
            redirected = False
        elif set(word) <= set("<>") or word in ("<&", ">&", "&>"):
            redirected = True
        elif set(word) <= set("|&;()<>"):
            redirected = False
            found.append([])
        elif found[-1] or not ASSIGNMENT.match(word):
            found[-1].append(word)
    return [tuple(words) for words in found if words and words != ["$"]]


@cache
def commands() -> tuple[Command, ...]:
    """Of all pages."""
    typed = [
        Command(block.page, block.line + number, words, True)
        for block in blocks(*SHELLS)
        for number, line, _ in lines(block)
        for words in (split if block.language else _if_any)(line)
    ]
    said = [Command(page, 0, words, False) for page in pages() for span in sorted(spans(page)) for words in _if_any(span)]
    return (*typed, *said)


def _if_any(line: str) -> list[tuple[str, ...]]:
    """What is set as code in a sentence, or in a block of no language, may be no command at all, and nothing that a shell could read."""
    try:
        return split(line)
    except ValueError:
        return []


def here_documents() -> list[tuple[str, dict[str, Any]]]:
    """(where, object) of our kinds that are given to a command in the line itself."""
    found = [(block, here) for block in blocks(*SHELLS) for _, _, here in lines(block) if "apiVersion" in here]
    return [(f"{block.page}:{block.line}", obj) for block, here in found for obj in documents(here) if is_ours(obj)]
