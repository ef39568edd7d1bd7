"""Figures that were published of the original's runs, beside ours on the same data."""

from pathlib import Path

from benchmarks.goals import Goal, Results, least
from benchmarks.runner import Case, Cell

TITLE = "Published figures"
ABOUT = (
    "Jobs run as the container runs them, with the hyperparameters of the published run and the "
    "original's defaults (rows in file order, short last batch left out, threshold by accuracy)."
)
DATA = {
    "Gasoline, weekly (fpp2)": "gasoline",
    "Adult": "adult",
    "Adult, a model of the original": "adult_model",
    "MNIST, is it 0": "mnist",
    "MovieLens, factorization machine": "movielens",
    "MNIST, is it 0, factorization machine": "mnist_machine",
    "Covertype, 7 classes": "covertype_figures",
    "Abalone": "abalone",
    "PCA of Bitcoin features, a model of the original": "bitcoin",
    "Boosted trees: abalone": "abalone_trees",
    "Boosted trees: customer churn": "churn",
    "Boosted trees: breast cancer (WDBC)": "wdbc",
    "Boosted trees: bank direct marketing": "bank",
    "Credit card fraud (ULB)": "credit_card",
    "UFO sightings": "ufo",
    "US census counties, PCA": "census",
    "Boston housing": "boston",
}


def cases(folder: Path, size: str) -> list[Case]:
    """One case per data set."""
    given = {"folder": str(folder)}
    wanted = ["gasoline"] if size == "quick" else list(DATA.values())
    return [
        Case(name, [Cell("smalgos", f"benchmarks.published:{f}", given)], rounds=1)
        for name, f in DATA.items()
        if f in wanted
    ]


def share(results: Results) -> float | None:
    """Of the figures whose data are at hand, those within their tolerance."""
    judged = [row for row in results.rows if row.measure("ours") is not None]
    return sum(row.ok for row in judged) / len(judged) if judged else None


GOALS = (Goal("share of figures within their tolerance", least(0.95), share, ""),)
