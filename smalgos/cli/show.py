"""Commands that tell what there is: algorithms, their hyperparameters, what a model file holds."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smalgos.cli.text import listed, number, pairs, paragraph, size, table

if TYPE_CHECKING:
    from smalgos.learning.model import Algorithm
    from smalgos.learning.parameters import Field

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def echo_json(value: Any) -> None:
    """Print strict, indented JSON; infinities and NaN are spelled as words."""
    click.echo(json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    if isinstance(value, float) and value - value != 0:  # infinite or NaN
        return str(value)
    return value


# algorithms, describe -----------------------------------------------------------------------------


@click.command()
@AS_JSON
def algorithms(as_json: bool) -> None:
    """List the algorithms."""
    from smalgos.algorithms import MODULES, algorithm

    found = [algorithm(name) for name in sorted(MODULES)]
    if as_json:
        echo_json([_identity(a) for a in found])
        return
    least = max(len(a.name) for a in found)
    for a in found:
        lines = (a.summary, f"Python: {listed(_estimators(a))}", f"channels: {listed(a.channels)}")
        named = zip((a.name, "", ""), lines, strict=True)
        click.echo(pairs(named, least=least))


def _identity(a: "Algorithm") -> dict[str, Any]:
    return {
        "name": a.name,
        "summary": a.summary,
        "estimators": _estimators(a),
        "channels": {name: {"required": needed} for name, needed in a.known_channels.items()},
    }


def _estimators(a: "Algorithm") -> list[str]:
    """Names of the classes, found without importing scikit-learn."""
    import smalgos
    from smalgos.algorithms import MODULES

    homes: dict[str, str] = vars(smalgos)["_ESTIMATORS"]  # which type stubs do not show
    own = (a.estimators or MODULES[a.name]).split()
    return [name for name, module in homes.items() if module in own]


@click.command()
@click.argument("algo")
@AS_JSON
def describe(algo: str, as_json: bool) -> None:
    """Explain an algorithm: its channels and every hyperparameter."""
    from smalgos.algorithms import algorithm
    from smalgos.formats.content_type import types

    a = algorithm(algo)
    fields = list(a.parameters.table.values())
    content_types = sorted(types(texts=bool(a.texts)), key=lambda name: name != a.content_type)
    if as_json:
        echo_json(
            _identity(a)
            | {
                "content_types": content_types,
                "scores": list(a.scores),
                "response": {"envelope": a.envelope, "fields": list(a.fields)},
                "hyperparameters": [_as_json(field) for field in fields],
            }
        )
        return
    click.echo(paragraph(f"{a.name}: {a.summary}", hang=2) + "\n")
    needs = (f"{n} (required)" if need else n for n, need in a.known_channels.items())
    click.echo(
        pairs(
            [
                ("Python", listed(_estimators(a))),
                ("Channels", listed(list(needs))),
                ("Content types", listed([f"{content_types[0]} (default)", *content_types[1:]])),
                ("Response", listed(a.fields)),
                ("Scores", ", ".join(a.scores) or "none"),
            ]
        )
    )
    click.echo("\nHyperparameters")
    for field in fields:
        click.echo(f"  {_headline(field)}")
        click.echo(paragraph(_explanation(field), indent=6))


def _headline(field: "Field") -> str:
    """``mini_batch_size = 1000 (Python: auto)``"""
    from smalgos.learning.parameters import REQUIRED

    name = f"{field.name} (or {listed(field.spelled, 'or')})" if field.spelled else field.name
    said = f"{name}, required" if field.default is REQUIRED else f"{name} = {_word(field.default)}"
    if field.wire:
        return f"{said} (container only)"
    if field.library_default != field.default:
        return f"{said} (Python: {_word(field.library_default)})"
    return said


def _explanation(field: "Field") -> str:
    from smalgos.learning.parameters import sentence

    allowed = field.expected().removeprefix("must be ") + (", or none" if field.optional else "")
    return f"{sentence(field.doc)} {sentence(allowed)}"


def _word(value: Any) -> str:
    return "none" if value is None else number(value)


def _as_json(field: "Field") -> dict[str, Any]:
    from smalgos.learning.parameters import REQUIRED

    def known(value: Any) -> Any:
        return None if value is REQUIRED else value

    limits = {"low": field.low, "above": field.above, "high": field.high, "below": field.below}
    told = {
        "name": field.name,
        "type": field.kind.__name__,
        "required": field.default is REQUIRED,
        "default": known(field.default),
        "library_default": known(field.library_default),
        "in_constructor": not field.wire,
        **{name: limit for name, limit in limits.items() if limit is not None},
        "choices": field.choices,
        "words": list(field.allowed_words),
        "spelled": list(field.spelled),
        "tune": field.tune,
        "scale": field.scale if field.tune else None,
        "doc": field.doc,
    }
    optional = ("choices", "words", "spelled", "tune", "scale")
    return {name: v for name, v in told.items() if v or name not in optional}


# inspect ------------------------------------------------------------------------------------------


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--models", is_flag=True, help="Print the table of the models that were tried.")
@AS_JSON
def inspect(model: Path, models: bool, as_json: bool) -> None:
    """Show what a model file holds.

    MODEL is a model file, or the folder that holds it.
    """
    told = contents(model)
    if as_json:
        echo_json(told)
        return
    click.echo(f"{told['path']}\n")
    click.echo(
        pairs(
            [
                ("Algorithm", f"{told['algorithm']}, {_written_by(told['library'])}"),
                ("Size", f"{size(told['bytes'])}, SHA-256 {told['sha256']}"),
                ("Training state", "kept: training can go on" if told["state"] else "not kept"),
            ]
        )
    )
    click.echo("\nFields")
    click.echo(pairs(((n, _field(f)) for n, f in told["fields"].items()), indent=2))
    _show_hyperparameters(told["algorithm"], told["hyperparameters"])
    notes = {name: _note(value) for name, value in told["notes"].items()}
    if notes:
        click.echo("\nNotes")
        click.echo(pairs(notes.items(), indent=2))
    if models:
        _show_tables(told["notes"])


def contents(path: Path) -> dict[str, Any]:
    """What a model file holds, as JSON values.

    Raises
    ------
    UserError
        When it is damaged or no model.
    """
    from smalgos.algorithms import file_of, read_model

    model, meta, state = read_model(path)
    file = file_of(path)
    flat = model.snapshot(model.k.to_host)
    notes = dict(model.notes)
    return {
        "path": str(file),
        "algorithm": model.algorithm,
        "library": meta.get("library"),
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "state": bool(state),
        "fields": {name: _described(value) for name, value in flat.items()},
        "hyperparameters": notes.pop("hyperparameters", {}),
        "notes": notes,
    }


def _written_by(library: str | None) -> str:
    return f"by smalgos {library}" if library else "in a format of XGBoost's"


def _described(value: Any) -> Any:
    if getattr(value, "ndim", 0):
        return {"dtype": str(value.dtype), "shape": list(value.shape)}
    return value.item() if hasattr(value, "item") else value


def _field(told: Any) -> str:
    if isinstance(told, dict):
        return f"{told['dtype']}, {' x '.join(map(str, told['shape']))}"
    return number(told)


def _show_hyperparameters(algorithm_name: str, values: dict[str, Any]) -> None:
    """Those that are not what they would be by default."""
    from smalgos.algorithms import algorithm
    from smalgos.learning.parameters import AUTO, REQUIRED

    parameters = algorithm(algorithm_name).parameters.table
    differing, settled = [], []
    for name, value in values.items():
        field = parameters.get(name)
        if field is not None and value == field.default:
            continue
        if field is not None and field.default == AUTO:
            settled.append(f"{name}={_word(value)}")
        else:
            known = field is not None and field.default is not REQUIRED
            default = f"(default {_word(field.default)})" if field and known else ""
            differing.append((name, f"{_word(value)} {default}".rstrip()))
    if differing:
        click.echo("\nHyperparameters that differ from the defaults")
        click.echo(pairs(differing, indent=2))
    if settled:
        click.echo("\nHyperparameters whose default is auto")
        click.echo(paragraph(", ".join(settled), indent=2))


def _note(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_note(v)}" for name, v in value.items())
    if not isinstance(value, list):
        return _word(value)
    if _is_table(value):
        return f"a table of {len(value)} rows (shown by --models)"
    shown = [_note(v) for v in value]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:3], "...", *shown[-3:]])


def _is_table(value: Any) -> bool:
    rows = isinstance(value, list) and all(isinstance(row, dict) for row in value)
    return rows and bool(value) and len({tuple(row) for row in value}) == 1


def _show_tables(notes: dict[str, Any]) -> None:
    """The tables among the notes without what is the same in all rows; the chosen one marked."""
    for name, rows in notes.items():
        if not _is_table(rows):
            continue
        shown = [c for c in rows[0] if len({str(row[c]) for row in rows}) > 1] or list(rows[0])
        body = [
            ["*" if i == notes.get("model") else "", i, *(row[c] for c in shown)]
            for i, row in enumerate(rows)
        ]
        click.echo("\n" + table(body, ["", name.removesuffix("s"), *shown]))
