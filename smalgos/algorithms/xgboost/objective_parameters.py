"""Where XGBoost's model files keep the parameters of objectives, and how these are spelled."""

import contextlib
import json
from typing import Any, TypeAlias

# {object in the file: {hyperparameter: what it is unless it is given}}
Groups: TypeAlias = dict[str, dict[str, Any]]

_LOGISTIC: Groups = {"reg_loss_param": {"scale_pos_weight": 1.0}}
_CLASSES: Groups = {"softmax_multiclass_param": {"num_class": 1}}
_RANKING: Groups = {
    "lambda_rank_param": {"num_pairsample": 1, "fix_list_weight": 0.0},  # up to 1.7
    "lambdarank_param": {
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": 4294967295,  # stands for that of the method
        "lambdarank_unbiased": 0,
        "lambdarank_bias_norm": 1.0,
        "lambdarank_normalization": 1,
        "lambdarank_score_normalization": 1,
        "ndcg_exp_gain": 1,
    },
}

POISSON_STEP = 0.7

GROUPS: dict[str, Groups] = {
    "reg:squarederror": _LOGISTIC,
    "reg:linear": _LOGISTIC,
    "reg:squaredlogerror": _LOGISTIC,
    "reg:logistic": _LOGISTIC,
    "binary:logistic": _LOGISTIC,
    "binary:logitraw": _LOGISTIC,
    "reg:gamma": _LOGISTIC,
    "reg:pseudohubererror": {"pseudo_huber_param": {"huber_slope": 1.0}},
    "reg:quantileerror": {"quantile_loss_param": {"quantile_alpha": "0.5"}},
    "reg:tweedie": {"tweedie_regression_param": {"tweedie_variance_power": 1.5}},
    "count:poisson": {"poisson_regression_param": {"max_delta_step": POISSON_STEP}},
    "multi:softmax": _CLASSES,
    "multi:softprob": _CLASSES,
    "rank:pairwise": _RANKING,
    "rank:ndcg": _RANKING,
    "rank:map": _RANKING,
    "survival:aft": {
        "aft_loss_param": {"aft_loss_distribution": "normal", "aft_loss_distribution_scale": 1.0}
    },
}
WORDS = ("aft_loss_distribution", "lambdarank_pair_method")


def read_text(name: str, text: str) -> Any:
    """The hyperparameter that a text of a file stands for; lists become a text with commas.

    Raises
    ------
    ValueError
        It stands for none.
    """
    if name in WORDS:
        return text
    value = json.loads(text)
    if isinstance(value, list) and set(map(type, value)) <= {int, float}:
        return ",".join(f"{v:.9g}" for v in value)
    if type(value) not in (int, float):
        raise ValueError(f"{name}={text!r} is no number")
    return value


def write_text(name: str, value: Any) -> str:
    """The inverse of `read_text`; takes what else a hyperparameter may be."""
    if name == "max_delta_step" and not value:  # a bound for trees, of which this one takes none
        value = POISSON_STEP
    if name == "quantile_alpha":
        given = value.strip("[]()").split(",") if isinstance(value, str) else value
        given = 0.5 if given is None else given
        listed = given if isinstance(given, list | tuple) else [given]
        return f"[{','.join(f'{float(v):.9g}' for v in listed)}]"
    if isinstance(value, bool):
        return str(int(value))
    with contextlib.suppress(TypeError, ValueError):
        return f"{value:.9g}" if isinstance(value, float) else str(int(value))
    return str(value)
