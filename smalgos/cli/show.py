"""Commands that tell what there is: algorithms, their hyperparameters, what a model file holds."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smalgos.cli.text import columns, listed, number, pairs, paragraph, size, table

if TYPE_CHECKING:
    from smalgos.learning.model import Algorithm
    from smalgos.learning.parameters import Field

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def echo_json(value: Any) -> None:
    """Print strict, indented JSON; what JSON cannot say is spelled as text."""
    click.echo(json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    if isinstance(value, float) and value - value != 0:  # an infinity or NaN
        return str(value)
    return value


# algorithms ---------------------------------------------------------------------------------------


@click.command()
@AS_JSON
def algorithms(as_json: bool) -> None:
    """List the algorithms."""
    from smalgos.algorithms import MODULES, algorithm

    found = [algorithm(name) for name in MODULES]
    if as_json:
        echo_json([_identity(a) for a in found])
        return
    for a in found:
        click.echo(
            pairs(
                [(a.name, a.summary), ("", f"Python: {', '.join(_estimators(a))}"),
                 ("", f"channels: {', '.join(a.channels)}")],
                least=max(map(len, MODULES)),
            )
        )  # fmt: skip


def _identity(a: "Algorithm") -> dict[str, Any]:
    return {
        "name": a.name,
        "summary": a.summary,
        "estimators": _estimators(a),
        "channels": {name: {"required": needed} for name, needed in a.known_channels.items()},
    }
