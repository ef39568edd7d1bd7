"""The exception by which a signal ends a wait."""


class Interrupted(BaseException):
    """Raised by a signal handler; not an error, so that ``except Exception`` lets it pass."""
