"""Every command line in every page could be run: the commands, options, targets, values, files, kinds and fields that it names exist.

What the commands then say is for other tests: docs/desk.md is run line by line.
"""

from __future__ import annotations

import pytest

from laycan.cli.main import COMMANDS
from tests.docs.pages import Block
from tests.docs.runnable import CHECKS, LAYCAN, judge
from tests.docs.shell import Command, commands, lines, split


def checked() -> list[Command]:
    return [command for command in commands() if command.words[0] in CHECKS or command.whole]


def test_commands() -> None:
    """None names anything that does not exist."""
    assert [f"{command}: {why}" for command in checked() if (why := judge(command.words, command.whole))] == []


def test_enough_was_looked_at() -> None:
    """The pages have dozens of commands, of each of these."""
    heads = {head for command in checked() for head in command.words[:1] if head in CHECKS}
    assert heads >= {"laycan", ".venv/bin/laycan", "make", "helm", "kubectl"}
    assert len([command for command in checked() if command.whole]) > 50


def test_what_runs_in_the_operators_pod_is_in_its_image() -> None:
    """It has Python and `laycan`, and no shell: no `sh`, `mv` or `ls`."""
    run = [
        words[words.index("--") + 1]
        for command in commands()
        if "exec" in (words := list(command.words)) and "deploy/laycan-operator" in words
    ]
    assert len(run) > 3
    assert set(run) <= {"laycan", "python"}


def test_every_command_is_shown() -> None:
    """There is a page that shows each command of `laycan`."""
    shown = {words[1] for command in commands() if (words := command.words)[0] in LAYCAN and len(words) > 1}
    assert set(COMMANDS) - shown == set()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("laycan plan examples/ -o json", ""),
        ("laycan plan nothing/ --outptu json", "No such option"),
        ("laycan qoute", "no command qoute"),
        ("laycan quote examples/ --gpus 8", "Missing option"),
        ("laycan verify a.json --trust t.json", ""),
        ("laycan verify a.json --trsut t.json", "no option --trsut"),
        ("kubectl laycan sttaus", "no command sttaus"),
        ("kubectl exec -n laycan-system deploy/laycan-operator -- laycan endpoint tset DESK/EXCHANGE", "tset"),
        ("kubectl get computecontracts,outage -A", ""),
        ("kubectl get computecontrats", "no resource computecontrats"),
        ("kubectl get leaderepoch cluster -o 'jsonpath={.spec.epcoh}'", "no field spec.epcoh"),
        ("kubectl explain computecontract.spec.terms.delivery", ""),
        ("kubectl explain computecontract.spec.trems", "is no field"),
        ("kubectl gte pods", "no command gte"),
        ("helm upgrade --install laycan charts/laycan --set settings.drainSeconds=5,mode=Enforce", ""),
        ("helm install laycan charts/laycna", "no charts/laycna"),
        ("helm upgrade laycan charts/laycan --set settings.drianSeconds=5", "no value settings.drianSeconds"),
        ("helm upgrade laycan charts/laycan --set agent.nodeSelector.pool=gpu,networkPolicy.metricsFrom[0].podSelector.a=b", ""),
        ("helm upgrade laycan charts/laycan --set settings.drainSeconds.least=5", "no value settings.drainSeconds.least"),
        ("helm isntall laycan", "no command isntall"),
        ("make demo KEEP=1", ""),
        ("make dmeo", "no dmeo"),
        ("make demo KEPT=1", "no KEPT=1"),
        (".venv/bin/python -m laycan.resources.crdd crds", "no module laycan.resources.crdd"),
        ("sh -c 'mkdir a && laycan qoute'", "no command qoute"),
        ("laycan check-plan plan.json examples/nothing.yaml", "no examples/nothing.yaml"),
    ],
)  # fmt: skip
def test_faults_are_found(line: str, why: str) -> None:
    """The test itself tells good commands from bad ones."""
    (words,) = split(line)
    said = judge(words, True)
    assert why in said
    assert bool(said) is bool(why)


def test_lines_are_joined() -> None:
    """A backslash, an open quotation and a here-document take the lines that follow; in a console only what follows a prompt is typed."""
    text = "laycan plan \\\n  a\nkubectl patch -p '{\n}'\nkubectl apply -f - <<EOF\na: 1\nEOF\nmake demo\n"
    assert [(number, here) for number, _, here in lines(Block("p", 1, "sh", text))] == [(0, ""), (2, ""), (4, "a: 1"), (7, "")]
    assert [line for _, line, _ in lines(Block("p", 1, "console", "$ make demo\nit's so\n$ make test\n"))] == [
        "make demo",
        "make test",
    ]


def test_lines_are_split_as_a_shell_does() -> None:
    """Pipes, lists, redirections, substitutions, comments and assignments."""
    line = (
        "E=$(kubectl get x) A=1 make demo > out.txt && laycan plan - < in.yaml | tee plan.json; source <(laycan completion bash)  # words"
    )
    first, last = [("kubectl", "get", "x"), ("make", "demo"), ("laycan", "plan", "-")], ("laycan", "completion", "bash")
    assert split(line) == [*first, ("tee", "plan.json"), ("source",), last]
