"""SIGTERM: when it is obeyed at once, and when something is finished first.

The platform sends it and waits 120 seconds before it kills.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Seconds between SIGTERM and the end of a wait for data: no block takes as long, and half of the
# platform's patience is left to save the model.
PATIENCE = 60.0


class Interrupted(BaseException):
    """Raised by a signal handler; not an error, so that ``except Exception`` lets it pass."""


class Termination:
    """What SIGTERM does, by what the process is about.

    Before training and while the final model is scored nothing would be lost: it raises
    `Interrupted` there. During training it sets `asked`, so that the block in work is finished;
    training that does not come to the end of a block, since it waits for data, gets an
    `Interrupted` after `PATIENCE` seconds. While the model is written it waits.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once = True

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
        self.asked = True
        if self._at_once:
            raise Interrupted
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _alarm(self, *_: Any) -> None:
        raise Interrupted

    def watch(self, event: str, **facts: Any) -> None:
        """Follow the events of a job."""
        if event in ("begin", "scored"):
            self._at_once = False
        elif event == "stop":  # no wait is left to end
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif event == "scoring":
            self._at_once = True
