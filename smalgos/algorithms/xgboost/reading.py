"""How the rows of a training job are read."""

from typing import Any

from smalgos.errors import UserError
from smalgos.formats.content_type import CSV, ContentType


def reading(parameters: Any, content_type: ContentType | None) -> dict[str, Any]:
    """Options of readers: empty cells of CSV are missing, its delimiter is that of the first row.

    Parameters
    ----------
    parameters : XGBoostParameters
    content_type : ContentType or None
        Of the channel; None: the reader will see.

    Raises
    ------
    UserError
        When a row would not have one label, or `csv_weights` cannot be followed.
    """
    given = "1" if content_type is None else content_type.parameters.get("label_size", "1")
    if given.lstrip("0") != "1":
        raise UserError(f"label_size={given}: rows have one label, so give 1, or leave it out")
    if content_type is None and parameters.csv_weights:
        raise UserError("csv_weights=1: say that the content type is text/csv")
    weights = bool(parameters.csv_weights) and content_type is not None and content_type.type == CSV
    return {"missing": "nan", "delimiter": None, "weights": weights}
