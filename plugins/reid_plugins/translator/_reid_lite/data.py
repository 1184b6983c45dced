"""Translate the data, the sampling and the augmentation of the predecessor's params.json."""

from __future__ import annotations

from pathlib import PurePosixPath

from reid_plugins.translator._reid_lite.eval_params import CLASSIFICATION
from reid_plugins.translator._reid_lite.reading import Json, Reading

ERASING = {"p": 0.6, "area": [0.02, 0.1], "aspect": [0.3, 3.33], "fill": "zero"}
"""The predecessor's random erasing: before normalisation, so that zero is black."""

JITTER = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1}
"""The predecessor's colour jitter."""

MARKET_CAMERA = "_c([0-9]+)"
"""The camera in Market-1501's file names."""


def data(r: Reading) -> Json:
    """Return the folders of images and how they are loaded."""
    folder = PurePosixPath(r["batches_dir"])
    if not folder.name:
        r.refuse("batches_dir", "expected the folder of the training images, got none")
    params: Json = {"root": str(folder.parent), "train": folder.name}
    text = "a class_mapping.json is not read"
    if r["evaluation_params.type"] == CLASSIFICATION:
        params["val"] = "val"
        text = (
            "the folder 'val' is expected beside it, with the same identities. Override with --set "
            f"data.train.0.params.<val|val_share>=...; {text}"
        )
    elif r["evaluation_params.type"] is not None:
        params |= {
            "query": "query",
            "gallery": "gallery",
            "camera_pattern": MARKET_CAMERA,
            "junk": ["-1"],
        }
        text = (
            "the folders 'query' and 'gallery' are expected beside it, with Market-1501's file "
            "names in all three and junk in the identity folder '-1'; the predecessor had all "
            "this in its source. Override with --set data.train.0.params.<gallery|junk|...>="
            f"...; {text}"
        )
    r.note("batches_dir", text)
    return {
        "train": [{"name": "image_folder", "params": params}],
        "workers": r["num_preprocess_workers"],
        "batch_size": r["batch_sampling_params.batch_size"],
    }


def sampler(r: Reading) -> Json:
    """Return the order of the training images."""
    size = "batch_sampling_params.batch_size"
    wanted = ("batch_sampling_params.P", "batch_sampling_params.K")
    if not r["batch_sampling_params.class_balanced"]:
        for name in wanted:
            r.drop(name, "it counts with class_balanced only")
        return {"name": "random", "params": {"batch_size": r[size]}}
    for name in wanted:
        if r[name] is None:
            r.refuse(name, "required with class_balanced, but missing")
    r.note(size, f"{r[size]} is the batch of evaluation only: with class_balanced a batch is P x K")
    p, k = (r[name] for name in wanted)
    return {"name": "class_balanced", "params": {"P": p, "K": k, "epoch": "identities"}}


def augmentation(r: Reading) -> list[Json]:
    """Return the operations in the predecessor's order, but for mirroring, which comes last."""
    height, width = r["img_h"], r["img_w"]
    r.note(
        "img_h, img_w",
        "evaluation resizes as training does; the predecessor's used OpenCV, without antialiasing",
    )
    entries: list[tuple[bool, str, Json]] = [
        (True, "resize", {"height": height, "width": width, "interpolation": "bilinear"}),
        (_has_crop(r), "pad_crop", {"padding": _padding(r)}),
        (_has_jitter(r), "color_jitter", JITTER),
        (_has_erasing(r), "random_erasing", ERASING),
        (True, "normalize", _normalization(r)),
        # Last, because it works on batches; a crop or a hole is as likely as its mirror image.
        (r["data_augmentation.mirror"], "flip", {"p": 0.5}),
    ]
    return [{"name": name, "params": params} for wanted, name, params in entries if wanted]


def _has_crop(r: Reading) -> bool:
    """Return whether a padded image is cropped to its old size; other crops are refused."""
    size = (r["img_h"], r["img_w"])
    names = ["data_augmentation.crop_h", "data_augmentation.crop_w"]
    if (r[names[0]], r[names[1]]) != size:
        r.refuse(
            "data_augmentation.crop_h, crop_w",
            f"expected {size[0]} x {size[1]} like img_h, img_w, got {r[names[0]]} x {r[names[1]]}; "
            "reid-core crops to the size that it resizes to",
            *names,
            "img_h",
            "img_w",
        )
    padding = ["data_augmentation.padding_h", "data_augmentation.padding_w"]
    if all(r[name] for name in padding):
        return True
    for name in padding:
        r.drop(name, "without padding on both axes the predecessor did not pad")
    return False


def _padding(r: Reading) -> int | list[int]:
    """Return the padding above and below, and left and right if that is another one."""
    high, wide = (r[f"data_augmentation.padding_{side}"] for side in "hw")
    return int(high) if high == wide else [high, wide]


def _has_jitter(r: Reading) -> bool:
    name = "data_augmentation.colour_jiterring"
    if r[name]:
        r.note(name, "it comes before random erasing; in the predecessor it came after")
    return bool(r[name])


def _has_erasing(r: Reading) -> bool:
    name = "data_augmentation.random_erasing"
    if r[name]:
        r.note(name, "p 0.6, at most a tenth of the area, black, as in the predecessor's source")
    return bool(r[name])


def _normalization(r: Reading) -> Json:
    name = "data_augmentation.imagenet_static"
    if r[name]:
        return {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    r.note(
        name,
        "false: mean and std 0.5 in training and in evaluation; the predecessor evaluated with "
        "ImageNet's all the same",
    )
    return {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
