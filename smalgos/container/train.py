"""``train`` as the platform calls it: files below ``/opt/ml`` in, model and exit code out.

Exit codes: 0 when the job is done or was asked to stop; 1 when it failed, with the reason in
``output/failure`` (unless somebody has written one already) and in the log.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from smalgos.container.interrupt import Interrupted
from smalgos.container.layout import Layout
from smalgos.container.log import LOG, logging_to
from smalgos.container.termination import Termination
from smalgos.errors import AlgorithmError, PlatformError, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job that the platform's files describe.

    Parameters
    ----------
    argv : sequence of str, optional
        Command-line arguments: there are none to give.

    Returns
    -------
    int
        The exit code.
    """
    started = time.time()
    layout, termination = Layout.of(os.environ), Termination()
    with logging_to(sys.stdout), termination.handled():
        try:
            LOG.info("smalgos container train, base directory %s", layout.base)
            if argv:
                raise UserError(f"unknown arguments {' '.join(argv)}: train takes none")
            run(layout, termination, started)
        except Interrupted:
            termination.hold()
            LOG.info("SIGTERM before training began: there is no model to save.")
        except Exception as e:
            termination.hold()
            fail(layout, e)
            return 1
    return 0


def run(layout: Layout, termination: Termination, started: float) -> None:
    """Read the platform's files, execute the job, write its lines."""
    # Here and not above: these take a second or more, and the first line should not wait for them.
    from smalgos.algorithms import algorithm
    from smalgos.container.config import read_settings
    from smalgos.container.job import execute
    from smalgos.container.own_lines import lines_of

    settings = read_settings(layout, os.environ)
    job, a = settings.job, algorithm(settings.job.algorithm)
    lines = lines_of(a)(a, settings.host, LOG, started)
    lines.configuration(job.hyperparameters, str(layout.config("hyperparameters.json")))
    lines.channels(job)

    def report(event: str, **facts: Any) -> None:
        termination.watch(event, **facts)
        lines(event, **facts)

    outcome = execute(job, report=report, stop=lambda: termination.asked)
    if outcome.model is None:
        LOG.info("SIGTERM before anything was learnt: there is no model to save.")


def fail(layout: Layout, error: Exception) -> None:
    """Say why the job failed, in the log and in the failure file."""
    text = reason(error)
    ours = not text.startswith("ClientError: ")
    LOG.error("%s", text, exc_info=error if ours else None)
    try:
        layout.failure.parent.mkdir(parents=True, exist_ok=True)
        if not layout.failure.exists():
            temporary = layout.failure.with_name(f".failure-{os.getpid()}.tmp")
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, layout.failure)
    except OSError as e:
        LOG.error("%s cannot be written: %s", layout.failure, e.strerror)


def reason(error: Exception) -> str:
    """The text of the failure file: who can put it right, then what is wrong."""
    said = str(error) or type(error).__name__
    if isinstance(error, UserError):
        return f"ClientError: {said}"
    if isinstance(error, PlatformError | OSError | MemoryError):
        return f"InternalServerError: {said}"
    if isinstance(error, AlgorithmError):
        return f"AlgorithmError: {said}"
    return f"AlgorithmError: {type(error).__name__}: {said}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
