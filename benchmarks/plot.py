"""Draws results.png from results.csv: ``python benchmarks/plot.py [results.csv] [results.png]``."""

import itertools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.artist import Artist  # noqa: E402

from benchmarks.problems import csv as csv_problem  # noqa: E402
from benchmarks.problems import linear_learner, recordio  # noqa: E402
from benchmarks.runner import Row, load  # noqa: E402

HERE = Path(__file__).resolve().parent
FLOOR = 0.01  # %: below it one loss is as good as another
OURS, THEIRS = "#0b6e4f", "#9aa5b1"
COLOURS = {
    "smalgos": OURS,
    linear_learner.SGD: "#d1495b",
    linear_learner.LBFGS: "#edae49",
    linear_learner.SNAPML: "#6a4c93",
    linear_learner.VW: "#30638e",
}


def main() -> None:
    """Bars of times on the left, loss against time on the right."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.csv"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "results.png"
    rows = load(source)
    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(10, 10), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1))
    bars(figure.add_subplot(grid[:, 0]), rows)
    shown: dict[str, Artist] = {}
    for i, case in enumerate(linear_learner.TUNED):
        shown |= curves(figure.add_subplot(grid[i, 1]), case, rows)
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower right", ncols=2, frameon=False
    )
    figure.savefig(target)


def bars(axes: plt.Axes, rows: list[Row]) -> None:
    """How many times our time each peer takes."""
    found: list[tuple[str, float, bool]] = []
    for title, case in groups():
        here = [row for row in rows if row.case == case and row.ok and row.ratio is not None]
        peers = [row for row in here if not row.ours]
        if not peers:
            continue
        ours = min((row for row in here if row.ours), key=lambda row: row.ratio)
        found.append((f"{title}", 1.0, True))
        found += [
            (f"{row.library}", row.ratio / ours.ratio, False)
            for row in sorted(peers, key=lambda row: row.ratio)
        ]
    names = [name for name, _, _ in found]
    places = []
    at = 0.0
    for _, _, own in found:
        at += 1.7 if own else 1.0
        places.append(at)
    axes.barh(
        places, [v for _, v, _ in found], color=[OURS if own else THEIRS for *_, own in found]
    )
    for place, (_, value, own) in zip(places, found, strict=True):
        axes.text(value * 1.06, place, "" if own else f"{value:.3g}", va="center")
    axes.set_yticks(places, names)
    for label, (_, _, own) in zip(axes.get_yticklabels(), found, strict=True):
        label.set_fontweight("bold" if own else "normal")
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color=OURS, linewidth=0.8)
    axes.set_xlabel("time, as a multiple of smalgos' (green)")
    axes.set_title("Time of peers on the same work", loc="left", fontweight="bold")


def groups() -> list[tuple[str, str]]:
    """(what is shown, case), top to bottom."""
    from benchmarks.problems import (
        boosted_trees,
        factorization_machines,
        ip_insights,
        pca,
        text_classification,
        word_vectors,
    )

    return [
        ("RecordIO, read dense", f"read {recordio.DENSE}"),
        ("RecordIO, read sparse", f"read {recordio.SPARSE}"),
        ("RecordIO, write dense", f"write {recordio.DENSE}"),
        *((f"CSV, {kind}", kind) for kind in csv_problem.KINDS.values()),
        *((f"32 linear models to equal loss, {case}", case) for case in linear_learner.TUNED),
        (f"PCA, {pca.name('default')}", pca.name("default")),
        (f"boosted trees, {boosted_trees.HIGGS}", boosted_trees.HIGGS),
        *(
            (f"factorization machines, {case}", case)
            for case in (factorization_machines.PAIRS, factorization_machines.fields(16))
        ),
        ("IP Insights", ip_insights.SPEED),
        ("word vectors, skip-gram", word_vectors.SKIPGRAM),
        *((f"text classification, {case}", case) for case in text_classification.TITLES.values()),
    ]


def curves(axes: plt.Axes, case: str, rows: list[Row]) -> dict[str, Artist]:
    """Least loss so far, above the best of all, against time; the lines by name."""
    here = [row for row in rows if row.case == f"{case}: loss against time"]
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in here:
        loss = row.measure("log loss")
        if row.curve:
            pairs = (part.split(":") for part in row.curve.split())
            lines[row.library] = [(float(t), float(v)) for t, v in pairs]
        elif row.seconds is not None and loss is not None:
            lines.setdefault(row.library, []).append((row.seconds, loss))
    best = min((v for line in lines.values() for _, v in line), default=0.0)
    shown: dict[str, Artist] = {}
    for library, line in lines.items():
        line.sort()
        times = [t for t, _ in line]
        least = itertools.accumulate((v for _, v in line), min)
        own = library == "smalgos"
        named = "smalgos, best of 32 models" if own else f"{library}, 1 model"
        (shown[named],) = axes.plot(
            times, [max(100 * (v / best - 1), FLOOR) for v in least],
            "o-", markersize=3, linewidth=2 if own else 1, color=COLOURS.get(library, THEIRS),
        )  # fmt: skip
    axes.axhline(100 * linear_learner.TOLERANCE, color="black", linewidth=0.6, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("log loss above the best, %")
    axes.set_title(case, loc="left", fontweight="bold")
    axes.set_ylim(bottom=0.8 * FLOOR)
    axes.text(axes.get_xlim()[0], 110 * linear_learner.TOLERANCE, " converged below", va="bottom")
    return shown


if __name__ == "__main__":
    main()
