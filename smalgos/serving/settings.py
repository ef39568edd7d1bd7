"""What the environment says of the server."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smalgos.container.layout import Layout
from smalgos.errors import UserError
from smalgos.formats.content_type import ContentType
from smalgos.formats.responses import ENCODERS

MAX_BODY = 6 << 20  # of real-time endpoints
MAX_BODY_MULTI_MODEL = 20 << 20
TIMEOUT = 60.0


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Parameters
    ----------
    model : Path or None
        File or folder of the model; None: models come and go by requests.
    host, port : str, int
        Where to listen. Port 0: any that is free.
    workers : int
        Processes.
    timeout : float
        Seconds for a request: to arrive and to be answered.
    max_body : int
        Bytes of a request.
    accept : str
        Media type of answers to who takes anything; empty: the algorithm's.
    batch : bool
        Whether this is a batch transform job.
    fields : tuple of str
        What to answer with, of models that can choose; empty: the usual fields.
    ensemble : bool
        Whether of several models of a folder all answer, else the first.
    log_level : int
        Of Python's levels.
    """

    model: Path | None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    timeout: float = TIMEOUT
    max_body: int = MAX_BODY
    accept: str = ""
    batch: bool = False
    fields: tuple[str, ...] = ()
    ensemble: bool = True
    log_level: int = logging.INFO

    @property
    def threads(self) -> int:
        """Of each worker, for requests that take a while."""
        return max(cores() // self.workers, 1)

    @classmethod
    def of(cls, environment: Mapping[str, str], **given: object) -> "Settings":
        """The settings by the variables of the original's containers.

        Parameters
        ----------
        environment : mapping of str to str
        **given
            Settings that are stronger.

        Raises
        ------
        UserError
            Naming the variable that cannot be used.
        """
        several = environment.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
        found: dict[str, object] = {
            "model": None if several else Layout.of(environment).model,
            "host": "0.0.0.0",
            "port": _whole(environment, "SAGEMAKER_BIND_TO_PORT", 8080, most=65535),
            "workers": _whole(environment, "SAGEMAKER_MODEL_SERVER_WORKERS", cores(), least=1),
            "timeout": float(_timeout(environment)),
            "max_body": _max_body(environment, several),
            "accept": _accept(environment),
            "batch": "SAGEMAKER_BATCH" in environment,
            "fields": _fields(environment),
            "ensemble": environment.get("SAGEMAKER_INFERENCE_ENSEMBLE", "").lower() != "false",
            "log_level": _whole(environment, "SAGEMAKER_CONTAINER_LOG_LEVEL", logging.INFO),
        }
        if several:  # models that a request loads are loaded in one process
            found["workers"] = 1
        return cls(**found | given)  # type: ignore[arg-type]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(
    environment: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = 2**31
) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise UserError(f"{name}={text!r}: must be a whole number from {least} to {most}")
    return int(text)


def _timeout(environment: Mapping[str, str]) -> int:
    older = _whole(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT", int(TIMEOUT), least=1)
    return _whole(environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", older, least=1)


def _max_body(environment: Mapping[str, str], several: bool) -> int:
    """At least what the caller of a batch transform job has asked for."""
    asked = _whole(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 0, most=100) << 20
    if "MAX_CONTENT_LENGTH" not in environment and asked:
        return asked
    most = MAX_BODY_MULTI_MODEL if several else 2**31
    limit = _whole(environment, "MAX_CONTENT_LENGTH", MAX_BODY, least=1)
    return max(min(limit, most), asked)


def _fields(environment: Mapping[str, str]) -> tuple[str, ...]:
    text = environment.get("SAGEMAKER_INFERENCE_OUTPUT", "").lower().replace(" ", "")
    return tuple(dict.fromkeys(filter(None, text.split(","))))


def _accept(environment: Mapping[str, str]) -> str:
    name = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"
    text = environment.get(name, "").strip()
    if not text:
        return ""
    try:
        chosen = ContentType.parse(text).type
    except UserError as e:
        raise UserError(f"{name}: {e}") from None
    if chosen not in ENCODERS:
        raise UserError(f"{name}={text!r}: must be one of {', '.join(ENCODERS)}")
    return chosen
