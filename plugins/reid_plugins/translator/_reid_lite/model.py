"""Translate the network of the predecessor's params.json."""

from __future__ import annotations

from reid_plugins.translator._reid_lite.keys import BACKBONES
from reid_plugins.translator._reid_lite.reading import Json, Reading


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
        "the gate of 0.9 reads the running accuracy, without any margin; the predecessor's read "
        "that of the last batch that it had logged, margin included",
    )
    spectral = {"temperature": temperature, "gate": 0.9, "normalize": "column"}
    return {"name": "spectral", "params": {**params, **spectral}}
