"""The training container's files and environment, read into a job.

The platform writes JSON below ``/opt/ml/input/config``; what may be missing there has a default,
what is there must be right.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smalgos.algorithms import MODULES, algorithm
from smalgos.container.job import TUNING_KEY, ChannelConfig, Job
from smalgos.container.layout import Layout
from smalgos.errors import UserError
from smalgos.formats.content_type import RECORDIO, ContentType

ALGORITHM_VARIABLE = "SMALGOS_ALGORITHM"
SECONDS_VARIABLE = "SMALGOS_CHECKPOINT_SECONDS"
MODES = ("File", "FastFile", "Pipe")


@dataclass(frozen=True)
class Settings:
    """All that the platform says of a job.

    Parameters
    ----------
    job : Job
    host : str
        Name of this machine, for log lines.
    """

    job: Job
    host: str


def read_settings(layout: Layout, environment: Mapping[str, str]) -> Settings:
    """Read the configuration.

    Parameters
    ----------
    layout : Layout
    environment : mapping of str to str
        Of the process.

    Returns
    -------
    Settings

    Raises
    ------
    UserError
        Naming file and key, or variable, of what cannot be used.
    """
    host = _host(layout.config("resourceconfig.json"))
    hyperparameters = _hyperparameters(layout.config("hyperparameters.json"))
    name = _algorithm(environment)
    job = Job(
        algorithm=name,
        hyperparameters=hyperparameters,
        channels=_channels(layout, algorithm(name).content_type),
        model_dir=layout.model,
        data_dir=layout.output_data,
        checkpoint=_checkpoint(layout, host),
        checkpoint_seconds=_seconds(environment),
        facts={"tuning": bool(hyperparameters.get(TUNING_KEY))},
    )
    return Settings(job, host)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty when there is no file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not JSON: {e}") from e
    if not isinstance(value, dict):
        raise UserError(f"{path}: must hold a JSON object, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _text(path: Path, entry: Mapping[str, Any], key: str, default: str = "") -> str:
    value = entry.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise UserError(f"{path}: {key} must be a string, not {_kind(value)}")
    return value


def _algorithm(environment: Mapping[str, str]) -> str:
    name, known = environment.get(ALGORITHM_VARIABLE, ""), ", ".join(sorted(MODULES))
    if not name:
        raise UserError(f"the variable {ALGORITHM_VARIABLE} is not set: give one of {known}")
    if name not in MODULES:
        raise UserError(f"{ALGORITHM_VARIABLE}={name!r}: no such algorithm; known are {known}")
    return name


def _hyperparameters(path: Path) -> dict[str, Any]:
    found = _object(path)
    for name, value in found.items():
        if value is None or isinstance(value, dict):
            raise UserError(f"{path}: {name} must be a string, not {_kind(value)}")
    return found


def _channels(layout: Layout, default: str) -> dict[str, ChannelConfig]:
    path = layout.config("inputdataconfig.json")
    channels = {}
    for name, entry in _object(path).items():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: channel {name} must be an object, not {_kind(entry)}")
        mode = _text(path, entry, "TrainingInputMode", "File")
        if mode not in MODES:
            raise UserError(
                f"{path}: channel {name}: TrainingInputMode={mode!r} must be one of "
                f"{', '.join(MODES)}"
            )
        content_type = _text(path, entry, "ContentType") or default
        wrapper = _text(path, entry, "RecordWrapperType", "None")
        if wrapper == "RecordIO" and ContentType.parse(content_type).type != RECORDIO:
            raise UserError(
                f"{path}: channel {name}: RecordWrapperType=RecordIO wraps whole files in records, "
                f"which is not read for {content_type}; set it to None"
            )
        channels[name] = ChannelConfig(layout.data / name, content_type, mode)  # type: ignore[arg-type]
    return channels


def _host(path: Path) -> str:
    """Name of this machine; an error when it is one of several."""
    entry = _object(path)
    hosts = entry.get("hosts") or []
    if not isinstance(hosts, list) or not all(isinstance(h, str) for h in hosts):
        raise UserError(f"{path}: hosts must be a list of names")
    if len(hosts) > 1:
        raise UserError(
            f"{path}: the job has {len(hosts)} hosts, and training is not spread over several: "
            "ask for one instance (InstanceCount=1)"
        )
    return _text(path, entry, "current_host") or (hosts[0] if hosts else "algo-1")


def _checkpoint(layout: Layout, host: str) -> Path | None:
    """The file of this host: all hosts of a job share one folder in the end."""
    path = layout.config("checkpointconfig.json")
    if not path.exists():
        return None
    folder = _text(path, _object(path), "LocalPath") or "checkpoints"
    return layout.base / folder / f"smalgos-checkpoint-{host}.safetensors"


def _seconds(environment: Mapping[str, str]) -> float:
    text = environment.get(SECONDS_VARIABLE, "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UserError(f"{SECONDS_VARIABLE}={text!r}: must be a number of seconds, 0 or more")
    return seconds
