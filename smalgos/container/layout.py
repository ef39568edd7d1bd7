"""Where the contract of training containers puts things."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BASE_VARIABLE = "SAGEMAKER_BASE_DIR"


@dataclass(frozen=True)
class Layout:
    """Files and folders below a base directory.

    Parameters
    ----------
    base : Path
    """

    base: Path = Path("/opt/ml")

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Layout":
        """The layout below ``SAGEMAKER_BASE_DIR``, by default ``/opt/ml``."""
        given = environment.get(BASE_VARIABLE)
        return cls(Path(given)) if given else cls()

    def config(self, name: str) -> Path:
        """One of the platform's files."""
        return self.base / "input" / "config" / name

    @property
    def data(self) -> Path:
        """Folder of the channels."""
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        """Folder that becomes ``model.tar.gz``."""
        return self.base / "model"

    @property
    def output_data(self) -> Path:
        """Folder that becomes ``output.tar.gz``."""
        return self.base / "output" / "data"

    @property
    def failure(self) -> Path:
        """File that says why a job failed; its first 1024 characters are shown to the user."""
        return self.base / "output" / "failure"
