"""The errors a caller may see, told apart by who can put things right."""


class UserError(ValueError):
    """Something the caller can fix: the message says what, where and what to do."""


class RowError(UserError):
    """A row that cannot be used.

    Raised with the number of the row within the pass; the training driver, which knows
    where blocks came from, turns it into a `UserError` that names file and row.

    Parameters
    ----------
    row : int
        Number of the row, counted from 0 at the start of the pass.
    what : str
        What is wrong with it, and what to do.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(f"row {row}: {what}")
        self.row = row
        self.what = what


class NotReady(UserError):
    """A model was asked for before anything was learnt."""


class AlgorithmError(RuntimeError):
    """A fault of ours, not of the data or the caller."""


class PlatformError(RuntimeError):
    """The machine is at fault: disk, memory, device."""
