"""Translate the network and the losses of the predecessor's params.json."""

from __future__ import annotations

from reid_core.legacy.keys import BACKBONES
from reid_core.legacy.reading import Json, Reading

# ---- network ----------------------------------------------------------------------------


def backbone(r: Reading) -> Json:
    """Return the ResNet."""
    name = BACKBONES[r["model_params.model"]]
    if name in ("resnet18", "resnet34"):
        r.note("model_params.model", f"the predecessor could not build {name}; reid-core can")
    params = {
        "last_stride": r["model_params.last_conv_stride"],
        "pretrained": "imagenet" if r["imagenet_pretrain"] else "none",
    }
    return {"name": name, "params": params}


def classifier(r: Reading) -> Json:
    """Return the linear layers' options."""
    r.note(
        "asoftmax_params.margin",
        "0: linear classifiers with a bias, as in the predecessor's source",
    )
    return {"bias": True}


def head(r: Reading) -> Json:
    """Return the head: stripes, or one vector for the image."""
    return _pcb(r) if r["model_params.pcb_n_parts"] else _single(r)


def _pcb(r: Reading) -> Json:
    """Return the head of stripes with the global branch beside them."""
    parts, dim = r["model_params.pcb_n_parts"], r["model_params.feature_dim"]
    if dim < parts:
        r.refuse(
            "model_params.feature_dim",
            f"expected at least pcb_n_parts ({parts}), got {dim}: the stripes share it",
            "model_params.pcb_n_parts",
        )
    if dim % parts:
        r.note(
            "model_params.feature_dim",
            f"{dim} counts as {dim // parts * parts}: {dim // parts} for each of {parts} stripes",
        )
    if not r["model_params.feature_gobal_dim"]:
        r.note(
            "model_params.feature_gobal_dim",
            "0: stripes alone; the predecessor could not run without a global branch",
        )
    r.note(
        "model_params.pcb_n_parts",
        "max pooling and dropout 0.5 after BN, as in the predecessor's source",
    )
    r.drop("model_params.spectral_trans", "it counts with pcb_n_parts 0 only")
    params = {
        "parts": parts,
        "part_dim": dim // parts,
        "pooling": "max",
        "dropout": 0.5,
        "global_dim": r["model_params.feature_gobal_dim"],
    }
    return {"name": "pcb", "params": params}


def _single(r: Reading) -> Json:
    """Return the head of one vector, with or without the spectral branch."""
    temperature = r["model_params.spectral_trans"]
    if temperature is None:
        r.refuse(
            "model_params.spectral_trans",
            "required with pcb_n_parts 0, but missing; expected a number >= 0",
            "model_params.pcb_n_parts",
        )
    r.note(
        "model_params.pcb_n_parts",
        "0: average pooling and dropout 0.5 after BN, as in the predecessor's source",
    )
    r.drop("model_params.feature_gobal_dim", "it counts with pcb_n_parts above 0 only")
    params = {
        "pooling": "avg",
        "embedding_dim": r["model_params.feature_dim"],
        "neck": "bn",
        "bn_bias": True,
        "dropout": 0.5,
    }
    if not temperature:
        return {"name": "global", "params": params}
    r.note(
        "model_params.spectral_trans",
        "the gate of 0.9 reads the running accuracy; the predecessor's read that of the last "
        "batch that it had logged",
    )
    spectral = {"temperature": temperature, "gate": 0.9, "normalize": "column"}
    return {"name": "spectral", "params": {**params, **spectral}}


# ---- losses -----------------------------------------------------------------------------


def losses(r: Reading) -> list[Json]:
    """Return cross entropy and triplets, as far as the predecessor used them."""
    has_triplet = _has_triplet(r)
    losses = []
    if r["tri_loss_params.lambda_cls"]:
        losses.append(_cross_entropy(r))
    elif has_triplet:
        r.drop("model_params.random_drop_branchs", "it counts with lambda_cls above 0 only")
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


def _has_triplet(r: Reading) -> bool:
    """Return whether the predecessor used triplets; note the keys that had no effect."""
    weight = "tri_loss_params.lambda_tri"
    if not r["tri_loss_params.margin"]:
        r.drop(weight, "tri_loss_params.margin 0 switches triplets off")
        return False
    if not r["batch_sampling_params.class_balanced"]:
        why = "the predecessor used triplets with class_balanced only"
    elif not r[weight]:
        why = "lambda_tri 0 switches triplets off"
    else:
        return True
    r.drop("tri_loss_params.margin", why)
    return False


def _cross_entropy(r: Reading) -> Json:
    """Return the cross entropy of all branches, or of those that random draws leave."""
    draws = r["model_params.random_drop_branchs"]
    return {
        "name": "softmax",
        "weight": r["tri_loss_params.lambda_cls"],
        "on": "embedding",
        "reduce": {"name": "random_keep", "draws": draws} if draws else "sum",
        "params": {"label_smoothing": 0.0},
    }


def _triplet(r: Reading) -> Json:
    """Return the triplets of the stripes' joint vector and of the global branch."""
    margin = r["tri_loss_params.margin"]
    r.note(
        "tri_loss_params.margin",
        "triplets see each branch after BN and dropout, and the branches' losses are summed",
    )
    return {
        "name": "triplet",
        "weight": r["tri_loss_params.lambda_tri"],
        "on": "embedding",
        "normalize": False,
        "reduce": "sum",
        "params": {"margin": "soft" if margin == "soft_margin" else margin},
    }
