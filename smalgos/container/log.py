"""The container's log: one handler on standard output, every line written out at once.

It loads nothing heavy, so that a job's first line comes before anything that could take long.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LOG = logging.getLogger("smalgos.container")
METRICS = "#metrics "  # lines that begin so are JSON behind it, and have no prefix
PLAIN = {"plain": True}  # the `extra` of other lines that have none


class LineFormatter(logging.Formatter):
    """``[06/01/2023 12:00:00 INFO 139924883953472] text``; ``#metrics`` and `PLAIN` ones bare."""

    def __init__(self) -> None:
        prefix = "[%(asctime)s %(levelname)s %(thread)d] "
        super().__init__(prefix + "%(message)s", "%m/%d/%Y %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        text = record.getMessage()
        bare = text.startswith(METRICS) or getattr(record, "plain", False)
        return text if bare else super().format(record)


@contextmanager
def logging_to(out: TextIO) -> Iterator[logging.Logger]:
    """The log, written to `out` for a while, with what is warned of anywhere.

    Parameters
    ----------
    out : TextIO
    """
    handler = logging.StreamHandler(out)  # it flushes behind each line
    handler.setFormatter(LineFormatter())
    root, level = logging.getLogger(), LOG.level
    root.addHandler(handler)
    LOG.setLevel(logging.INFO)

    def warned(message: Warning | str, *where: Any, **more: Any) -> None:
        LOG.warning("%s", message)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = warned
            yield LOG
    finally:
        LOG.setLevel(level)
        root.removeHandler(handler)
