"""`laycan evidence`: the receipts of a contract with all that proves them, as one file for `laycan verify`.

The log is a file on the operator's volume, which one pod may mount. So the command runs there (`kubectl exec`), reads the log beside the
operator and changes nothing; or anywhere else on a copy of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laycan.cli.bar import bar
from laycan.cli.output import EXIT_BAD_INPUT, EXIT_VIOLATION, bad_input_exits, say, write_file
from laycan.planning.manifests import BadInputError

if TYPE_CHECKING:
    from laycan.evidence.bundle import Exported
    from laycan.ledger.log import Log

Json = Mapping[str, Any]


def evidence(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="Name of the ComputeContract, or NAMESPACE/NAME.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The bundle; `-` is stdout.")],
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Namespace of the contract.")] = "default",
    ledger: Annotated[Path | None, typer.Option(metavar="PATH", help="Folder of the logs. Default: the settings', in the pod.")] = None,
    former: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="An earlier log of the same exchange, moved away when a new one began.")
    ] = None,
    objects: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Contract and product from files, with their uids; no cluster is asked.")
    ] = None,
    readings: Annotated[bool, typer.Option(help="With the readings from which the amounts can be recomputed.")] = True,
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: the ServiceAccount in a cluster, else $KUBECONFIG.")] = None,
) -> None:
    """Export the signed evidence of a contract.

    Needs: the log, which is in the operator's pod, or a copy of it.

    Example:
      kubectl exec -n laycan-system deploy/laycan-operator -- laycan evidence NAMESPACE/NAME --out - > contract.json

    Exit: 0 written, 1 there is no evidence of it (or not with these objects), 2 bad input, or no cluster.
    """
    import orjson

    from laycan.cli.installed import mounted_settings
    from laycan.evidence.bundle import NoEvidenceError
    from laycan.kube.client import ApiError
    from laycan.kube.credentials import CredentialsError
    from laycan.ledger.log import LedgerError
    from laycan.settings import Settings

    space, _, name = contract.rpartition("/")
    try:
        with bad_input_exits():
            wanted = (space or namespace, name)
            found, product = _given(objects, *wanted) if objects else asyncio.run(_asked(kubeconfig, *wanted))
        exported = _export(ledger or (mounted_settings() or Settings()).ledger_path, former or [], found, product, readings)
    except (ApiError, CredentialsError) as error:
        say("error", [f"no contract or product from a cluster: {error}; --objects takes them from files"])
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except (NoEvidenceError, LedgerError) as error:
        say("error", [str(error)])
        raise typer.Exit(EXIT_VIOLATION) from None
    say("note", exported.notes)
    write_file(out, orjson.dumps(exported.document, option=orjson.OPT_APPEND_NEWLINE))


def _export(root: Path, former: list[Path], contract: Json, product: Json, readings: bool) -> Exported:
    """From the log of the contract's exchange; from the local one where that never had any of it."""
    from laycan.evidence.bundle import bundle, endpoint_of
    from laycan.ledger.sqlite import open_log, path_of

    uid, place = contract["metadata"]["uid"], endpoint_of(contract)
    with ExitStack() as opened:

        def read(path: Path) -> Log:
            log = open_log(path, read_only=True)
            opened.callback(log.close)
            return log

        if not path_of(root, *place).is_file() and path_of(root, "", "").is_file():
            place = ("", "")
        logs = [read(path) for path in (*former, path_of(root, *place))]
        if place[1] and not any(log.entries_of(f"{uid}/") for log in logs) and path_of(root, "", "").is_file():
            place, logs = ("", ""), [read(path_of(root, "", ""))]
        exchange = "/".join(place) if place[1] else "local"
        with bar("receipts") as told:
            return bundle(logs, exchange, contract, product, with_readings=readings, progress=told)


async def _asked(kubeconfig: Path | None, namespace: str, name: str) -> tuple[Json, Json]:
    """The objects as the cluster has them: with the operator's own rights, who may list products and get contracts."""
    from laycan.kube.client import Client
    from laycan.kube.credentials import load_credentials
    from laycan.resources.constants import API_VERSION

    async with Client(load_credentials(kubeconfig)) as client:
        contract = await client.get(f"/apis/{API_VERSION}/namespaces/{namespace}/computecontracts/{name}")
        products = (await client.get(f"/apis/{API_VERSION}/computeproducts"))["items"]
    wanted = contract["spec"]["terms"]["productRef"]["name"]
    return contract, _only([each for each in products if each["metadata"]["name"] == wanted], f"ComputeProduct {wanted}", "the cluster")


def _given(paths: list[str], namespace: str, name: str) -> tuple[Json, Json]:
    from laycan.planning.documents import documents

    lines: list[str] = []
    found = [each for _, document in documents(paths, lines) for each in _items(document)]
    if lines:
        raise BadInputError(lines)
    contracts = [
        each
        for each in found
        if each.get("kind") == "ComputeContract"
        and (each["metadata"].get("namespace", namespace), each["metadata"]["name"]) == (namespace, name)
        and each["metadata"].get("uid")
    ]
    contract = _only(contracts, f"ComputeContract {namespace}/{name} with a uid", ", ".join(paths))
    wanted = contract["spec"]["terms"]["productRef"]["name"]
    products = [each for each in found if each.get("kind") == "ComputeProduct" and each["metadata"]["name"] == wanted]
    return {**contract, "metadata": {"namespace": namespace, **contract["metadata"]}}, _only(
        products, f"ComputeProduct {wanted}", ", ".join(paths)
    )


def _items(document: Any) -> list[Any]:
    """The objects of a document that is one, or a List."""
    whole = isinstance(document, dict)
    found = document["items"] if whole and isinstance(document.get("items"), list) else [document]
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("metadata"), dict)]


def _only(found: list[Json], what: str, where: str) -> Json:
    if len(found) != 1:
        raise BadInputError([f"{where}: {len(found)} objects are {what}; one is needed"])
    return found[0]
