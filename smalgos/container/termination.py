"""SIGTERM: when it is obeyed at once, and when something is finished first.

The platform sends it and waits 120 seconds before it kills.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smalgos.container.interrupt import Interrupted

# Seconds between SIGTERM and the end of a wait for data: no block takes as long, and half of the
# platform's patience is left to save the model.
PATIENCE = 60.0
# Seconds until `Interrupted` is raised again. Other libraries' code may swallow it: numba, while it
# is imported, does.
AGAIN = 1.0


class Termination:
    """What SIGTERM does, by what the process is about.

    Before training and while the final model is scored nothing would be lost: it raises
    `Interrupted` there. During training it sets `asked`, so that the block in work is finished;
    training that does not come to the end of a block, since it waits for data, gets an
    `Interrupted` after `PATIENCE` seconds. While the model is written it waits.
    """

    def __init__(self) -> None:
        self.asked = False
        self._phase = "start"

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals for a while; only the main thread of a process can."""
        before = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, self._terminate),
            signal.SIGALRM: signal.signal(signal.SIGALRM, self._alarm),
        }
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _terminate(self, *_: Any) -> None:
        if self.asked:  # once more: what there is to do is being done
            return
        self.asked = True
        at_once = self._phase in ("start", "score")
        signal.setitimer(signal.ITIMER_REAL, AGAIN if at_once else PATIENCE, AGAIN)
        if at_once:
            raise Interrupted

    def _alarm(self, *_: Any) -> None:
        if self._phase != "save":
            raise Interrupted

    def hold(self) -> None:
        """Let SIGTERM wait from now on: what is left to do is short."""
        self._phase = "save"

    def watch(self, event: str, **facts: Any) -> None:
        """Follow the events of a job."""
        phases = {"begin": "train", "stop": "save", "scoring": "score", "scored": "save"}
        self._phase = phases.get(event, self._phase)
        if event in ("begin", "scoring") and self.asked:
            raise Interrupted
