"""Hyperparameters of boosted trees, as the original spells them."""

from typing import Any

from smalgos.errors import UserError
from smalgos.learning.parameters import AUTO, Parameters, param

OBJECTIVES = (
    "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:logistic",
    "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror", "reg:gamma", "reg:tweedie",
    "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax",
    "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "survival:cox", "survival:aft",
)  # fmt: skip
UPDATERS = (
    "grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker", "grow_quantile_histmaker",
    "sync", "refresh", "prune", "shotgun", "coord_descent",
)  # fmt: skip


class XGBoostParameters(Parameters):
    """Hyperparameters of boosted trees."""

    num_round: int = param(library=100, low=1, tune=(1, 4000), doc="boosting rounds")
    objective: str = param(
        default="reg:squarederror", library=AUTO, auto=AUTO, choices=OBJECTIVES,
        doc="what is learnt; auto: by the labels",
    )  # fmt: skip
    num_class: int = param(default=0, low=0, wire=True, doc="classes, of multi objectives")
    eval_metric: list[str] = param(
        default=AUTO, auto=AUTO,
        doc="metrics after each round, separated by commas; the last one stops early; auto: that "
        "of the objective",
    )  # fmt: skip
    booster: str = param(
        default="gbtree", choices=("gbtree", "gblinear", "dart"),
        doc="trees, trees of which some are left out while others are added, or linear functions",
    )  # fmt: skip
    eta: float = param(
        default=AUTO, auto=lambda p, spec: 0.5 if p.booster == "gblinear" else 0.3, low=0, high=1,
        tune=(0.1, 0.5), spelled=("learning_rate",),
        doc="shrinkage of what each tree says; auto: 0.3, of gblinear 0.5",
    )  # fmt: skip
    gamma: float = param(
        default=0.0, low=0, tune=(0, 5), spelled=("min_split_loss",), doc="least gain of a split"
    )
    max_depth: int = param(default=6, low=0, tune=(0, 10), doc="depth of trees; 0: any")
    max_leaves: int = param(default=0, low=0, doc="leaves of a tree; 0: any")
    grow_policy: str = param(
        default="depthwise", choices=("depthwise", "lossguide"),
        doc="split level by level, or where the gain is greatest",
    )  # fmt: skip
    min_child_weight: float = param(
        default=1.0, low=0, tune=(0, 120), doc="least sum of hessians in a child"
    )
    max_delta_step: float | None = param(
        default=None, low=0, tune=(0, 10),
        doc="bound of what a leaf says; 0: none; None: 0.7 for count:poisson, else none",
    )  # fmt: skip
    reg_lambda: float = param(
        default=AUTO, auto=lambda p, spec: 0.0 if p.booster == "gblinear" else 1.0, low=0,
        tune=(0, 1000), spelled=("lambda",), doc="L2 strength; auto: 1, of gblinear 0",
    )  # fmt: skip
    reg_alpha: float = param(
        default=0.0, low=0, tune=(0, 1000), spelled=("alpha",), doc="L1 strength"
    )
    lambda_bias: float = param(default=0.0, low=0, high=1, doc="L2 strength of gblinear's bias")
    subsample: float = param(
        default=1.0, above=0, high=1, tune=(0.5, 1), doc="share of the rows for each tree"
    )
    sampling_method: str = param(
        default="uniform", choices=("uniform", "gradient_based"),
        doc="take rows by chance, or those of large gradients sooner",
    )  # fmt: skip
    colsample_bytree: float = param(
        default=1.0, above=0, high=1, tune=(0.5, 1), doc="share of the features for each tree"
    )
    colsample_bylevel: float = param(
        default=1.0, above=0, high=1, tune=(0.1, 1), doc="share of those for each level"
    )
    colsample_bynode: float = param(
        default=1.0, above=0, high=1, tune=(0.1, 1), doc="share of those for each node"
    )
    max_bin: int = param(
        default=256, low=2, high=65535,
        doc="bins of a feature, one of which is for missing values",
    )  # fmt: skip
    num_grad_quant_bins: int = param(
        default=0, low=0, high=64000,
        doc="steps that gradients are rounded to by chance; 0: as many as sums have room for",
    )  # fmt: skip
    num_parallel_tree: int = param(default=1, low=1, doc="trees of a round, a forest of them")
    scale_pos_weight: float = param(default=1.0, above=0, doc="weight of label 1")
    base_score: float | None = param(
        default=None, doc="the prediction to start from; None: estimated"
    )
    monotone_constraints: list[int] | None = param(
        default=None, doc="for each feature 1, 0 or -1: rising, free, falling, as (1,0,-1)"
    )
    interaction_constraints: list[list[int]] | None = param(
        default=None, doc="groups of features that may meet in a tree, as [[0,1],[2,3]]"
    )
    max_cat_to_onehot: int = param(
        default=4, low=1, doc="categorical features of fewer categories are split one by one"
    )
    tweedie_variance_power: float = param(default=1.5, above=1, below=2, doc="power of reg:tweedie")
    huber_slope: float = param(default=1.0, above=0, doc="delta of reg:pseudohubererror")
    quantile_alpha: list[float] | None = param(
        default=None, doc="quantiles of reg:quantileerror, between 0 and 1; None: the median"
    )
    categorical_features: list[int] | None = param(
        default=None, doc="features whose values are categories, whole numbers from 0"
    )
    aft_loss_distribution: str = param(
        default="normal", choices=("normal", "logistic", "extreme"), doc="noise of survival:aft"
    )
    aft_loss_distribution_scale: float = param(default=1.0, above=0, doc="its scale")
    lambdarank_pair_method: str | None = param(
        default=None, choices=("topk", "mean"),
        doc="ranking: pairs with the top rows, or drawn ones; None: topk",
    )  # fmt: skip
    lambdarank_num_pair_per_sample: int | None = param(
        default=None, low=1, doc="ranking: how many top rows, or pairs of a row; None: 32, or 1"
    )
    ndcg_exp_gain: bool = param(default=True, doc="ranking: a relevance of r gains 2^r - 1, not r")
    rate_drop: float = param(default=0.0, low=0, high=1, doc="dart: share of trees left out")
    skip_drop: float = param(default=0.0, low=0, high=1, doc="dart: how often none is")
    one_drop: int = param(default=0, low=0, high=1, doc="dart: 1: one at least")
    sample_type: str = param(
        default="uniform", choices=("uniform", "weighted"), doc="dart: how they are chosen"
    )
    normalize_type: str = param(
        default="tree", choices=("tree", "forest"), doc="dart: how weights make up for it"
    )
    early_stopping_rounds: int | None = param(
        default=None, low=1,
        doc="stop when the last metric is no better on validation rows after so many rounds",
    )  # fmt: skip
    process_type: str = param(
        default="default", choices=("default", "update"),
        doc="grow trees, or look again at those of an earlier model",
    )  # fmt: skip
    updater: str | None = param(
        default=None, doc="with process_type update: refresh, prune, or both"
    )
    refresh_leaf: int = param(default=1, low=0, high=1, doc="1: refresh changes leaves, too")
    kfold: int | None = param(
        default=None, low=2, spelled=("_kfold",), wire=lambda spec: None,
        doc="cross-validation: how many parts",
    )  # fmt: skip
    num_cv_round: int = param(
        default=1, low=1, spelled=("_num_cv_round",), wire=lambda spec: 1,
        doc="cross-validation: how many times",
    )  # fmt: skip
    csv_weights: int = param(
        default=0, low=0, high=1, wire=lambda spec: 0, doc="1: the second column is a weight"
    )
    save_model_on_termination: bool = param(
        default=False, wire=lambda spec: False, doc="write the model in time when asked to stop"
    )
    tree_method: str = param(
        default="auto", choices=("auto", "exact", "approx", "hist", "gpu_hist"),
        wire=lambda spec: "auto", doc="all of them run as hist",
    )  # fmt: skip

    def cross_check(self) -> None:
        """Rules between hyperparameters, and the contents of lists."""
        super().cross_check()
        if self.objective.startswith("multi:") and self.num_class < 2:
            raise UserError(
                f"num_class={self.num_class}: {self.objective} needs to know how many classes"
            )
        if self.num_class > 1 and not self.objective.startswith(("multi:", AUTO)):
            raise UserError(f"num_class={self.num_class}: {self.objective} has no classes")
        self.monotone_constraints = _numbers(
            "monotone_constraints", self.monotone_constraints, (-1, 0, 1)
        )
        self.categorical_features = _numbers("categorical_features", self.categorical_features)
        groups = self.interaction_constraints
        if groups is not None:
            if not all(isinstance(group, list | tuple) for group in groups):
                raise UserError(
                    f"interaction_constraints={groups!r}: must be lists of features in a list, "
                    "such as [[0, 1], [2, 3]]"
                )
            named = "interaction_constraints"
            self.interaction_constraints = [_numbers(named, group) or [] for group in groups]
        if self.quantile_alpha is not None:
            try:
                self.quantile_alpha = [float(a) for a in self.quantile_alpha]
            except (TypeError, ValueError):
                raise UserError(
                    f"quantile_alpha={self.quantile_alpha!r}: must be numbers"
                ) from None
        if self.grow_policy == "lossguide" and not (self.max_leaves or self.max_depth):
            raise UserError("grow_policy=lossguide needs max_leaves or max_depth")
        if self.num_grad_quant_bins == 1:
            raise UserError("num_grad_quant_bins=1: must be 0, or 2 and more to tell signs apart")
        if self.booster != "gbtree" and self.process_type == "update":
            raise UserError(f"process_type=update: {self.booster} has nothing that is updated")


def _numbers(name: str, given: Any, allowed: tuple[int, ...] | None = None) -> list[int] | None:
    """A list of whole numbers, as `name` may be given."""
    if given is None:
        return None
    try:
        numbers = [int(v) for v in given]
        fits = all(float(v) == n for v, n in zip(given, numbers, strict=True))
    except (TypeError, ValueError):
        fits = False
    if not fits or (allowed and not set(numbers) <= set(allowed)):
        among = f" among {', '.join(map(str, allowed))}" if allowed else ""
        raise UserError(f"{name}={given!r}: must be a list of whole numbers{among}")
    return numbers
