"""Translate the losses of the predecessor's params.json and the classifiers under them."""

from __future__ import annotations

from typing import Any

from reid_plugins.translator._reid_lite.reading import Json, Reading

MARGIN = "asoftmax_params.margin"
STEP = "asoftmax_params.step"
SCALE = "asoftmax_params.scale"
DRAWS = "model_params.random_drop_branchs"


def classifier(r: Reading) -> Json:
    """Return the linear layers' options."""
    if not r[MARGIN]:
        return {"bias": True}
    dim = r["model_params.feature_dim"] // (r["model_params.pcb_n_parts"] or 1)
    return {"bias": _has_global_branch(r), "init_std": max(1, dim) ** -0.5}


def losses(r: Reading) -> list[Json]:
    """Return the losses over identities and triplets, as far as the predecessor used them."""
    has_triplet = _has_triplet(r)
    losses = []
    if r["tri_loss_params.lambda_cls"]:
        losses += _classification(r)
    elif has_triplet:
        for name in (MARGIN, STEP, SCALE, DRAWS, "focal_loss"):
            r.drop(name, "it counts with lambda_cls above 0 only")
    if has_triplet:
        losses.append(_triplet(r))
    if not losses:
        r.refuse(
            "tri_loss_params.lambda_cls",
            "0 without triplets leaves nothing to train; write a number above 0, or a "
            "tri_loss_params.margin with class_balanced and lambda_tri above 0",
            "tri_loss_params.margin",
            "tri_loss_params.lambda_tri",
            "batch_sampling_params.class_balanced",
        )
    return losses


# ---- identities -------------------------------------------------------------------------


def _has_global_branch(r: Reading) -> bool:
    """Return whether a global branch stands beside stripes; it never had a margin."""
    return bool(r["model_params.pcb_n_parts"] and r["model_params.feature_gobal_dim"])


def _classification(r: Reading) -> list[Json]:
    """Return the loss of all branches, or of those that random draws leave."""
    draws = r[DRAWS]
    shared = {
        "weight": r["tri_loss_params.lambda_cls"],
        "on": "embedding",
        "reduce": {"name": "random_keep", "draws": draws} if draws else "sum",
    }
    if not r[MARGIN]:
        return [{**_without_margin(r), **shared}]
    with_margin = {**_with_margin(r), **shared}
    if not _has_global_branch(r):
        return [with_margin]
    if draws:
        r.refuse(
            DRAWS,
            f"expected 0 with stripes, a global branch and a margin, got {draws}; the global "
            "branch had no margin, so it has a loss of its own, and reid-core draws among the "
            "branches of one loss; write 0",
        )
    return [
        {**with_margin, "branches": "stripe_*"},
        {**_cross_entropy(), **shared, "branches": "global"},
    ]


def _cross_entropy() -> Json:
    return {"name": "softmax", "params": {"label_smoothing": 0.0}}


def _without_margin(r: Reading) -> Json:
    r.note(MARGIN, "0: linear classifiers with a bias, as in the predecessor's source")
    for name in (STEP, SCALE):
        r.drop(name, "margin 0 is a plain classifier, which has no margin layer")
    if not r["focal_loss"]:
        return _cross_entropy()
    r.note("focal_loss", "gamma 2, as in the predecessor's source")
    return {"name": "focal", "params": {"gamma": 2}}


def _with_margin(r: Reading) -> Json:
    """Return the predecessor's margin, which is a slope; its AM-softmax was never reached."""
    margins, scale = r[MARGIN], r[SCALE]
    if r["focal_loss"]:
        r.refuse(
            "focal_loss",
            "expected false with a margin, got true; reid-core's focal loss knows no margin; "
            "write false, or asoftmax_params.margin 0",
        )
    if len(set(margins)) > 1:
        r.refuse(MARGIN, _steps_advice(margins, r[STEP]), STEP)
    r.drop(STEP, "a single margin has no steps")
    text = (
        "(1 + m) cos - m of the right identity, as in the predecessor's source; AM-softmax's own "
        "cos - m is --set loss.0.params.form=additive; classifiers start with rows of a length "
        "near 1"
    )
    if _has_global_branch(r):
        text += ", that of the global branch, which has no margin, too: its own were shorter"
    r.note(MARGIN, text)
    r.note(
        SCALE,
        f"{scale}: cosines times {scale}, that of the right identity times the feature's length "
        "too, as in the predecessor's source"
        if scale
        else "0: cosines times the feature's length",
    )
    params = {"form": "slope", "scale": scale or "norm", "margin": margins[0]}
    return {"name": "am_softmax", "params": params}


def _steps_advice(margins: list[float], step: int) -> str:
    """Return how margins that change every ``step`` steps are written as our epochs."""
    starts = ["0", *(f"{i * step}/S" for i in range(1, len(margins)))]
    pairs = ", ".join(f"[{at}, {m}]" for at, m in zip(starts, margins, strict=True))
    return (
        f"expected 0 or a single margin such as [{margins[0]}], got {margins}; reid-core counts "
        "a margin's steps in epochs, and a file does not say how many training steps an epoch "
        f"has; write [{margins[0]}] and --set 'loss.0.params.margin=[{pairs}]', where S is the "
        "number of steps of an epoch that a run prints at its start"
    )


# ---- triplets ---------------------------------------------------------------------------


def _has_triplet(r: Reading) -> bool:
    """Return whether the predecessor used triplets; note the keys that had no effect."""
    margin, weight, adaptive = (
        f"tri_loss_params.{word}" for word in ("margin", "lambda_tri", "use_adaptive_weight")
    )
    if not r[margin]:
        names, why = [weight, adaptive], "tri_loss_params.margin 0 switches triplets off"
    elif not r["batch_sampling_params.class_balanced"]:
        why = "the predecessor used triplets with class_balanced only"
        names = [margin, weight, adaptive]
    elif not r[weight]:
        names, why = [margin, adaptive], "lambda_tri 0 switches triplets off"
    else:
        return True
    for name in names:
        r.drop(name, why)
    return False


def _triplet(r: Reading) -> Json:
    """Return the triplets of the stripes' joint vector and of the global branch."""
    margin = r["tri_loss_params.margin"]
    r.note(
        "tri_loss_params.margin",
        "triplets see each branch after BN and dropout, and the branches' losses are summed",
    )
    params: dict[str, Any] = {"margin": "soft" if margin == "soft_margin" else margin}
    if r["tri_loss_params.use_adaptive_weight"]:
        params["mining"] = "weighted"
        r.note(
            "tri_loss_params.use_adaptive_weight",
            "an anchor is none of its own positives; the predecessor counted it, at distance 0, "
            "so the loss is larger than its",
        )
    return {
        "name": "triplet",
        "weight": r["tri_loss_params.lambda_tri"],
        "on": "embedding",
        "normalize": False,
        "reduce": "sum",
        "params": params,
    }
