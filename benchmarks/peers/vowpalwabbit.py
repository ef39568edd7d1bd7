"""Vowpal Wabbit, from its own binary cache of the rows (made beforehand, not timed)."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from vowpalwabbit import Workspace

from benchmarks.measure import measured
from benchmarks.quality import log_loss

PLAIN = "--quiet --loss_function logistic --bit_precision 10"


def make_text(folder: str, names: list[str]) -> None:
    """``label | 0:value 1:value ...`` of arrays X and y, to five digits."""
    import polars as pl

    for name, rows, labels in names:
        X, y = (np.load(Path(folder) / f"{n}.npy") for n in (rows, labels))
        with open(Path(folder) / f"{name}.vw", "w", encoding="ascii") as file:
            for a in range(0, len(X), 100_000):
                frame = pl.DataFrame(X[a : a + 100_000], orient="row")
                cells = [
                    pl.lit(f" {i}:") + pl.col(c).round_sig_figs(5).cast(pl.String)
                    for i, c in enumerate(frame.columns)
                ]
                label = pl.Series("label", np.where(y[a : a + 100_000] == 1, "1 |", "-1 |"))
                lines = frame.select(pl.concat_str([pl.lit(label), *cells]).alias("line"))
                file.write("\n".join(lines["line"].to_list()) + "\n")


def fit(folder: str, options: str) -> dict:
    """One model; its passes over the cache are timed."""
    base = Path(folder)
    cache, model, answers = base / "train.cache", base / "vw.model", base / "vw.answers"
    if not cache.exists():
        make_text(folder, [("train", "X", "y"), ("held", "X_val", "y_val")])
        Workspace(f"--quiet --noop -d {base / 'train.vw'} --cache_file {cache}").finish()

    def work():
        command = f"{PLAIN} --cache_file {cache} {options} --holdout_off -f {model}"
        Workspace(command).finish()

    told = measured(work)
    ask = f"--quiet -t -i {model} -d {base / 'held.vw'} --link logistic -p {answers}"
    Workspace(ask).finish()
    p = np.loadtxt(answers, usecols=0, dtype=np.float64)
    loss = log_loss(np.load(base / "y_val.npy"), p)
    return told | {"version": version("vowpalwabbit"), "quality": {"log loss": loss}}
