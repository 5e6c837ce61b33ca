"""What would go wrong with a command line of a page, as far as that shows without running it.

Of `laycan` the real parser is asked; of `make`, `helm` and `kubectl` the Makefile, the chart's schema and the kinds that there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from laycan.cli.main import COMMANDS, OWN_PARSER, load
from laycan.resources.constants import PLURALS
from laycan.resources.crd import KINDS, definition
from tests.docs.pages import ROOT, WORDS
from tests.docs.shell import split

LAYCAN = ("laycan", ".venv/bin/laycan", "kubectl-laycan")
OURS = {name: kind for kind, plural in PLURALS.items() for name in (plural, kind.lower(), *KINDS[kind][2])}
THEIRS = {word for plural in WORDS["resources"] for word in (plural, plural.removesuffix("s"), f"{plural.removesuffix('ies')}y")}
FOLDERS = ("bench/", "charts/", "controlplane/", "crds/", "demo/", "docs/", "examples/", "operator/", "solver/", "tests/")


def laycan(words: Sequence[str], whole: bool) -> str:
    """What is wrong with the arguments of `laycan`, "" for nothing."""
    if not words or words[0] in ("--help", "--version", "…", "COMMAND"):
        return ""
    name, *arguments = words
    if name not in COMMANDS:
        return f"there is no command {name}"
    if whole and name not in OWN_PARSER:
        return parsed(name, arguments)
    given = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    return f"{name} has no option {', '.join(sorted(unknown))}" if (unknown := given - options(name)) else ""


def parsed(name: str, arguments: list[str]) -> str:
    """What the command's own parser says, but for files that the reader has and we have not."""
    try:
        command(name).make_context(name, arguments)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's, whichever copy of it typer has
            raise
        said = str(error.format_message())
        return "" if said.endswith("does not exist.") else said
    return ""


@cache
def options(name: str) -> set[str]:
    """All options of a command, those in the text of a parser of its own included."""
    if name in OWN_PARSER:
        return {"--help", "-h", *re.findall(r'add_argument\("(--[a-z-]+)"', (ROOT / "operator/laycan_verify/cli.py").read_text())}
    return {"--help", *(option for parameter in command(name).params for option in (*parameter.opts, *parameter.secondary_opts))}


def make(words: Sequence[str], _: bool) -> str:
    """What is wrong with the arguments of `make`."""
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w.-]+):", text, re.MULTILINE))
    known = set(re.findall(r"\$\((?:if \$\()?([A-Z_]+)\)", text))
    wrong = [
        word for word in words if not word.startswith("-") and (word.partition("=")[0] not in known if "=" in word else word not in targets)
    ]
    return f"there is no {', '.join(wrong)} in the Makefile" if wrong else ""


def helm(words: Sequence[str], _: bool) -> str:
    """What is wrong with the arguments of `helm`."""
    if words and words[0] not in WORDS["helm"]:
        return f"helm has no command {words[0]}"
    given = [value for option, value in pairwise(words) if option in ("--set", "--set-string", "--set-json")]
    given += [word.partition("=")[2] for word in words if re.match(r"--set(-string|-json)?=", word)]
    keys = [key for value in given for key in re.findall(r"(?:^|,)([A-Za-z][\w.\[\]]*)=", re.sub(r"\{[^}]*\}", "", value))]
    wrong = [key for key in keys if not is_value(key)]
    return f"the chart has no value {', '.join(wrong)}" if wrong else ""


def is_value(key: str) -> bool:
    """Whether values.schema.json has it; below a map whose keys are anybody's, such as nodeSelector, there is everything."""
    root: Any = json.loads((ROOT / "charts/laycan/values.schema.json").read_text())

    def resolved(node: Any) -> Any:
        return root["definitions"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    node = root
    for part in re.sub(r"\[\d+\]", "", key).split("."):
        node = resolved(node)
        node = resolved(node.get("items", node))
        if "properties" not in node:
            return node.get("type") == "object" and bool(node.get("additionalProperties", True))
        if part not in node["properties"]:
            return False
        node = node["properties"][part]
    return True


def kubectl(words: Sequence[str], whole: bool) -> str:
    """What is wrong with the arguments of `kubectl`."""
    end = words.index("--") if "--" in words else len(words)
    own, inner = words[:end], words[end + 1 :]
    if own[:1] == ("laycan",):
        return laycan(own[1:], whole)
    verb, *named = positional(own) or [""]
    if verb and verb not in (*WORDS["verbs"], *WORDS["onResources"]):
        return f"kubectl has no command {verb}"
    if inner and (fault := judge(inner, whole)):
        return fault
    if verb == "explain" and named:
        return "" if has_field(*named[0].partition(".")[::2]) else f"{named[0]} is no field"
    if verb not in WORDS["onResources"] or not named or {"-f", "--filename"} & set(own):
        return ""
    kinds = named[1:2] if verb == "rollout" else named[:1]
    return next((fault for kind in kinds for each in kind.split(",") if (fault := resource(each.partition("/")[0], own))), "")


def positional(words: Sequence[str]) -> list[str]:
    """Without options and their values."""
    return [word for before, word in zip(["", *words], words, strict=False) if not word.startswith("-") and before not in WORDS["valued"]]


def resource(name: str, words: Sequence[str]) -> str:
    """What is wrong with a resource's name, or with what a JSONPath picks of it."""
    short = name.partition(".")[0].lower()
    if short not in OURS:
        return "" if short in THEIRS else f"there is no resource {name}"
    picked = [
        path for word in words if "jsonpath" in word or word.startswith("{") for path in re.findall(r"\.((?:spec|status)[\w.]*)", word)
    ]
    wrong = [path for path in picked if not has_field(short, path)]
    return f"{name} has no field {', '.join(wrong)}" if wrong else ""


@cache
def schema(kind: str) -> Any:
    return definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@cache
def command(name: str) -> Any:
    return load(name)


def has_field(name: str, path: str) -> bool:
    """Whether that kind of ours has that field; of kinds that are not ours anything may be."""
    if name.lower() not in OURS:
        return name.lower() in THEIRS
    node = schema(OURS[name.lower()])
    for part in filter(None, re.split(r"[.\[\]*]+", path)):
        node = node.get("items", node)
        node = node.get("properties", {}).get(part) or node.get("additionalProperties")
        if node is None:
            return False
    return True


CHECKS: dict[str, Callable[[Sequence[str], bool], str]] = {**dict.fromkeys(LAYCAN, laycan), "make": make, "helm": helm, "kubectl": kubectl}


def judge(words: Sequence[str], whole: bool) -> str:
    """What is wrong with one command, "" for nothing."""
    if words[:2] == ("sh", "-c"):
        return next(filter(None, (judge(inner, whole) for inner in split(words[2]))), "")
    if words[0] in ("time", "sudo", "watch", "exec"):
        return judge(words[1:], whole) if len(words) > 1 else ""
    if missing := [word for word in words if word.startswith(FOLDERS) and not any(ROOT.glob(word.rstrip("/")))]:
        return f"there is no {', '.join(missing)}"
    if len(words) > 2 and words[1] == "-m" and words[0].endswith(("python", "python3")):
        return "" if module(words[2]) else f"there is no module {words[2]}"
    return CHECKS[words[0]](words[1:], whole) if words[0] in CHECKS else ""


def module(name: str) -> bool:
    """Whether there is a module of that name; of packages that are not ours anything may be."""
    path = name.replace(".", "/")
    folders = [folder for folder in (ROOT, ROOT / "operator", ROOT / "solver") if (folder / name.partition(".")[0]).is_dir()]
    return not folders or any((folder / path).is_dir() or (folder / f"{path}.py").is_file() for folder in folders)
