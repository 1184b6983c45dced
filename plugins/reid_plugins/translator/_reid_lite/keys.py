"""The keys of the predecessor's params.json and eval_params.json (pytorch-reid-lite).

A default is the predecessor's own, or "off" where an absent key can mean nothing else.
"""

from __future__ import annotations

from typing import Any

from reid_plugins.translator._reid_lite.reading import (
    ANYTHING,
    COUNT,
    COUNTS,
    FACTOR,
    FLAG,
    MARGINS,
    NUMBER,
    OBJECT,
    OPTIONAL_COUNT,
    OPTIONAL_TEXT,
    POSITIVE,
    TEXT,
    TRIPLET_MARGIN,
    Key,
    dead,
)

BACKBONES = {
    "resnet_18": "resnet18",
    "resnet_34": "resnet34",
    "resnet_50": "resnet50",
    "resnet_101": "resnet101",
}
"""Backbones that both have, with our names."""

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"momentum": 0.9, "nesterov": False}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "adam": ("adam", {"amsgrad": False}),
    "amsgrad": ("adam", {"amsgrad": True}),
}
"""Optimizers that both have, with our name and the params from the predecessor's source."""

_NO_GENERATOR = "input_dim 0 switches the generator off"
_NO_BUFFER = "the predecessor filled a buffer with it that no loss read"
_IN_WEIGHTS = "a weights file carries its own network and preprocessing"

RUN_KEYS: dict[str, Key] = {
    "asoftmax_params.margin": Key(MARGINS),
    "asoftmax_params.step": Key(POSITIVE, 30000),
    "asoftmax_params.scale": Key(NUMBER, 30),
    "asoftmax_params.unlabel_fold": dead(COUNT, _NO_BUFFER),
    "asoftmax_params.unlabel_update": dead(COUNT, _NO_BUFFER),
    "batch_sampling_params.P": Key(POSITIVE, None),
    "batch_sampling_params.K": Key(POSITIVE, None),
    "batch_sampling_params.batch_size": Key(POSITIVE),
    "batch_sampling_params.class_balanced": Key(FLAG),
    "batch_sampling_params.softmax_only": dead(FLAG, "the predecessor never read it"),
    "batches_dir": Key(TEXT),
    "data_augmentation.colour_jitering": dead(
        FLAG,
        "the predecessor never read this spelling but 'colour_jiterring'; write that one to "
        "have colour jitter",
    ),
    "data_augmentation.colour_jiterring": Key(FLAG, False),
    "data_augmentation.crop_h": Key(COUNT),
    "data_augmentation.crop_w": Key(COUNT),
    "data_augmentation.padding_h": Key(COUNT),
    "data_augmentation.padding_w": Key(COUNT),
    "data_augmentation.mirror": Key(FLAG),
    "data_augmentation.random_erasing": Key(FLAG, False),
    "data_augmentation.gaussian_noise": Key(
        FLAG,
        True,
        only=(False,),
        otherwise="noise is not in reid-core; the predecessor's changed few pixels by 1, so "
        "write false",
    ),
    "data_augmentation.imagenet_static": Key(FLAG),
    "data_augmentation.rotation": Key(
        NUMBER, only=(0,), otherwise="rotation is not in reid-core; write 0"
    ),
    "epochs": Key(POSITIVE),
    "evaluation_params.type": Key(
        OPTIONAL_TEXT,
        only=("market_evaluate", "classification_evaluate", None),
        otherwise="msmt_evaluate ranked as market_evaluate does, so write that one and name "
        "the data with --set data.targets.<name>=...",
    ),
    "evaluation_params.epoch": Key(POSITIVE),
    "evaluation_params.step": Key(
        OPTIONAL_COUNT,
        None,
        only=(None,),
        otherwise="evaluation within an epoch is not in reid-core; write null and set 'epoch'",
    ),
    "fine_tune": Key(FLAG, False),
    "focal_loss": Key(FLAG, False),
    "gan_params.input_dim": Key(
        COUNT, 0, only=(0,), otherwise="generators are not in reid-core; write 0"
    ),
    "gan_params.only_train": Key(
        FLAG, False, only=(False,), otherwise="generators are not in reid-core; write false"
    ),
    "gan_params.batch_size": dead(POSITIVE, _NO_GENERATOR),
    "gan_params.adv_train": dead(FLAG, _NO_GENERATOR),
    "gan_params.alone_train": dead(FLAG, _NO_GENERATOR),
    "gan_params.lr": dead(NUMBER, _NO_GENERATOR),
    "gan_params.beta1": dead(NUMBER, _NO_GENERATOR),
    "gan_params.ngf": dead(POSITIVE, _NO_GENERATOR),
    "gan_params.ndf": dead(POSITIVE, _NO_GENERATOR),
    "gan_params.preheating": dead(COUNT, _NO_GENERATOR),
    "gan_params.pretrain_snapshot_d": dead(TEXT, _NO_GENERATOR),
    "gan_params.pretrain_snapshot_g": dead(TEXT, _NO_GENERATOR),
    "gan_params.d_update_freq": dead(NUMBER, _NO_GENERATOR),
    "gan_params.train_loop": dead(POSITIVE, _NO_GENERATOR),
    "imagenet_pretrain": Key(FLAG),
    "img_h": Key(POSITIVE),
    "img_w": Key(POSITIVE),
    "lr.base_lr": Key(NUMBER),
    "lr.fc_lr": Key(NUMBER),
    "lr.warmup_epoch": Key(COUNT),
    "lr.decay_step": Key(COUNTS),
    "lr.decay_gamma": Key(FACTOR),
    "model_params.model": Key(
        TEXT, only=tuple(BACKBONES), otherwise="reid-core has no other ResNet"
    ),
    "model_params.feature_dim": Key(POSITIVE),
    "model_params.pcb_n_parts": Key(COUNT),
    "model_params.random_drop_branchs": Key(COUNT, 0),
    "model_params.last_conv_stride": Key(
        POSITIVE, only=(1, 2), otherwise="ResNets have no other last stride"
    ),
    "model_params.spectral_trans": Key(NUMBER, None),
    "model_params.feature_mask": Key(
        FLAG, False, only=(False,), otherwise="the channel gate is not in reid-core; write false"
    ),
    "model_params.feature_gobal_dim": Key(COUNT, 0),
    "num_preprocess_workers": Key(COUNT, 2),
    "optimizer": Key(
        TEXT,
        "sgd",
        only=tuple(OPTIMIZERS),
        otherwise="rmsprop is not in reid-core, and any other word meant sgd",
    ),
    "parallels": Key(COUNTS),
    "pretrain_snapshot": Key(TEXT, ""),
    "tri_loss_params.margin": Key(TRIPLET_MARGIN),
    "tri_loss_params.use_adaptive_weight": Key(FLAG, False),
    "tri_loss_params.lambda_tri": Key(NUMBER),
    "tri_loss_params.lambda_cls": Key(NUMBER),
    "weight_decay": Key(NUMBER),
    "working_dir": Key(TEXT),
}

EVAL_KEYS: dict[str, Key] = {
    "batch_size": Key(POSITIVE),
    "gpus": Key(COUNTS),
    "img_h": dead(POSITIVE, _IN_WEIGHTS),
    "img_w": dead(POSITIVE, _IN_WEIGHTS),
    "model_params": dead(OBJECT, _IN_WEIGHTS),
    "data_augmentation": dead(OBJECT, _IN_WEIGHTS),
    "num_labels": dead(COUNT, _IN_WEIGHTS),
    "feature_path": Key(TEXT, ""),
    "spectral_transform": Key(NUMBER, 0),
    "model_path": Key(TEXT),
    "benchmark_type": Key(
        TEXT,
        only=("market_evaluate", "classification_evaluate"),
        otherwise="msmt_evaluate ranked as market_evaluate does with spectral_transform 0, so "
        "write those two and name the data in 'targets'",
    ),
    "result_log_file": dead(ANYTHING, "the predecessor never read it"),
    "targets": Key(OBJECT, None),
}

_OF_RUNS = frozenset(name.split(".")[0] for name in RUN_KEYS)

RUN_ONLY = _OF_RUNS - set(EVAL_KEYS) - {"optimizer", "working_dir"}
"""Top-level keys that only the predecessor's params.json has."""

EVAL_ONLY = frozenset(EVAL_KEYS) - _OF_RUNS - {"batch_size", "targets"}
"""Top-level keys that only the predecessor's eval_params.json has."""
