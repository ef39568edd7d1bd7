"""pyarrow's readers of CSV and Parquet."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from benchmarks.measure import measured, threads
from benchmarks.quality import digest


def read_csv(path: str) -> dict:
    """To a table of float32 columns, then column by column to a matrix."""
    pa.set_cpu_count(threads())
    with open(path, encoding="ascii") as file:
        names = [f"f{i}" for i in range(file.readline().count(",") + 1)]
    reading = csv.ReadOptions(column_names=names)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32()))

    def work():
        table = csv.read_csv(path, reading, convert_options=convert)
        matrix = np.empty((table.num_rows, table.num_columns), np.float32)
        for i, column in enumerate(table.columns):
            matrix[:, i] = column.to_numpy()
        return matrix

    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return told | {"version": version("pyarrow"), "quality": digest(told["value"])}


def read_parquet(path: str) -> dict:
    """To a table, then column by column to a matrix."""

    def work():
        table = parquet.read_table(path)
        matrix = np.empty((table.num_rows, table.num_columns), np.float32)
        for i, column in enumerate(table.columns):
            matrix[:, i] = column.to_numpy()
        return matrix

    return _read(work, path)


def read_parquet_by_pandas(path: str) -> dict:
    """To a frame, then to a matrix."""
    return _read(
        lambda: parquet.read_table(path).to_pandas().to_numpy(np.float32).copy(order="C"), path
    )


def _read(work, path: str) -> dict:
    pa.set_cpu_count(threads())
    told = measured(work, warm=work, at_least=0.5, bytes=Path(path).stat().st_size)
    return told | {"version": version("pyarrow"), "quality": digest(told["value"])}
