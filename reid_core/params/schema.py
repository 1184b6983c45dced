"""The sections of params.json and eval_params.json. Every default lives here or in a plugin."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from reid_core.catalog import Catalog, Offer
from reid_core.component import Component, EvaluatorComponent, LossComponent, Params, PathText
from reid_core.errors import ReidError
from reid_core.limits import (
    LARGEST_BATCH,
    LARGEST_COUNT,
    LARGEST_FACTOR,
    LONGEST_EPOCHS,
    MOST_DRAWS,
    MOST_VIEWS,
    MOST_WORKERS,
)
from reid_core.params.entries import (
    AugmentationEntry,
    BackboneEntry,
    CallbackEntry,
    DistanceEntry,
    Entry,
    LoggerEntry,
    NamedParams,
    ObjectiveEntry,
    PostprocessEntry,
    SamplerEntry,
    ScheduleEntry,
)

DEVICE = "^(auto|cpu|cuda(:[0-9]+)?)$"
"""What a device may be called."""


FREE: dict[str, JsonValue] = {"resume": "free"}
FREE_AND_NOT_IN_WEIGHTS: dict[str, JsonValue] = {"resume": "free", "in_weights": False}
FREE_UNTIL_SCORED: dict[str, JsonValue] = {"resume": "until_scored", "in_weights": False}
"""Facts of fields; see ``field_facts``. The best score is measured by what is free until then."""


def _file_name(name: str) -> str:
    """Refuse what could lead a file that is called after it to another folder."""
    if not re.fullmatch("[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "the name becomes part of file names: use letters, digits, '_', '-' and '.', "
            "not '.' first"
        )
    return name


Rate = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
BatchSize = Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
FileName = Annotated[str, AfterValidator(_file_name)]


class DatasetEntry(Entry[Component]):
    """A dataset and, if wanted, where its packed store lies."""

    kind = "dataset"
    alias: FileName | None = Field(
        default=None, description="Name of this dataset within the run; default: its 'name'."
    )
    store: PathText | None = Field(
        default=None,
        description="Directory of the packed store; default: <working_dir>/stores/<dataset>-"
        "<fingerprint>. An existing store is used as it is.",
        json_schema_extra=FREE,
    )
    skip_unreadable: bool = Field(
        default=False,
        description="true: images that cannot be read are left out, counted and named; false: they "
        "are an error.",
    )
    follow_links: bool = Field(
        default=False,
        description="Whether links that the owner of the dataset's folder has made may lead out of "
        "it when it is packed.",
        json_schema_extra=FREE,
    )

    @property
    def label(self) -> str:
        """Return the name of this dataset within the run."""
        return self.alias or self.bare_name


Operations = Annotated[list[AugmentationEntry], Field(min_length=1)]
"""Image operations in order."""


class StreamParams(Params):
    """A further batch in every training step, which objectives read as ``Step.streams``."""

    sources: list[DatasetEntry] = Field(min_length=1, description="Datasets of its images.")
    split: Literal["train", "val", "query", "gallery", "multi_query", "extra"] = Field(
        default="train", description="Which split of theirs."
    )
    sampler: SamplerEntry = Field(
        description="Order of its images, and how many make a batch; its epochs are its own."
    )
    augmentation: Operations | None = Field(
        default=None,
        description="Image operations in order, to the same size; default: those of the run.",
    )
    views: (
        Annotated[int, Field(ge=1, le=MOST_VIEWS)]
        | Annotated[list[Operations], Field(min_length=1)]
    ) = Field(
        default=1,
        description="Batches of the same images that are augmented differently: how many (>= 1), "
        "or the operations of each, such as weak ones and strong ones.",
    )

    @model_validator(mode="after")
    def _operations_once(self) -> StreamParams:
        if self.augmentation is not None and isinstance(self.views, list):
            raise ValueError("'views' has operations of its own; leave 'augmentation' out")
        return self

    def operations(self, of_run: list[AugmentationEntry]) -> list[list[AugmentationEntry]]:
        """Return the image operations of every view, where those of the run are given."""
        if isinstance(self.views, list):
            return self.views
        return [of_run if self.augmentation is None else self.augmentation] * self.views


class DataParams(Params):
    """Images: what to train on, what to score on."""

    train: list[DatasetEntry] = Field(min_length=1, description="Datasets to train on.")
    targets: dict[FileName, DatasetEntry] = Field(
        default={},
        description="Datasets to score on by name; default: the train datasets.",
        json_schema_extra=FREE_UNTIL_SCORED,
    )
    streams: dict[FileName, StreamParams] = Field(
        default={}, description="Further batches of every training step, by name."
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=MOST_WORKERS,
        description="Loader processes, at most one per core, for each stream as well; 0 loads in "
        "the main one.",
        json_schema_extra=FREE,
    )
    batch_size: BatchSize = Field(
        default=128, description="Images per batch in evaluation.", json_schema_extra=FREE
    )


class HeadEntry(Entry[Component]):
    """A head and how its vectors enter the joint embedding."""

    kind = "head"
    alias: str | None = Field(
        default=None, pattern="^[A-Za-z0-9_]+$", description="Prefix of its branches' names."
    )
    part_norm: Literal["none", "each"] = Field(
        default="none", description="'each': L2-normalise every branch before concatenation."
    )
    scale: float = Field(default=1.0, gt=0, description="Factor on its part of the embedding.")


class ClassifierParams(Params):
    """The linear layers that classify branches."""

    bias: bool = Field(default=False, description="Whether they have a bias.")
    init_std: float = Field(default=0.001, gt=0, description="Std of their initial weights.")


class RandomKeep(Params):
    """Train a random subset of the branches in each step (pytorch-reid-lite)."""

    name: Literal["random_keep"]
    draws: Annotated[int, Field(ge=1, le=MOST_DRAWS)] = Field(
        description="Branches drawn with replacement to be left out; if none is left, one of "
        "them is kept. The kept losses are summed."
    )


class LossEntry(Entry[LossComponent]):
    """A loss, its weight and the branches that it is applied to."""

    kind = "loss"
    weight: float = Field(default=1.0, ge=0, description="Factor in the total loss.")
    branches: str | Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="Glob or globs of branch names; default: by the loss's role."
    )
    on: Literal["feature", "embedding"] | None = Field(
        default=None, description="Input before or after the neck's BN; default: the loss's own."
    )
    normalize: bool | None = Field(
        default=None, description="L2-normalise the input; default: the loss's own."
    )
    reduce: Literal["mean", "sum", "max"] | RandomKeep = Field(
        default="mean", description="How the values of several branches become one."
    )

    @field_validator("branches", mode="before")
    @classmethod
    def _some_branch(cls, value: Any) -> Any:
        if value == []:
            raise ValueError("names no branch; name one, or leave 'branches' out")
        return value


class GroupRule(Params):
    """Rates of the parameters whose name matches; later rules win."""

    match: str = Field(
        description="Glob on the parameter's name, e.g. 'model.backbone.layer4.*'. Later rules "
        "win; lr_scale multiplies the rate that earlier rules have set.",
        examples=["model.backbone.layer4.*"],
    )
    lr: Rate | None = Field(default=None, description="Learning rate of the group.")
    lr_scale: Rate | None = Field(default=None, description="Factor on the rate it had.")
    weight_decay: Rate | None = Field(default=None, description="Weight decay of the group.")

    @model_validator(mode="after")
    def _one_rate(self) -> GroupRule:
        if self.lr is not None and self.lr_scale is not None:
            raise ValueError("give either 'lr' or 'lr_scale'")
        return self


class SgdParams(Params):
    """Stochastic gradient descent."""

    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum.")
    nesterov: bool = Field(default=False, description="Nesterov's momentum.")


class AdamParams(Params):
    """Adam (arXiv:1412.6980)."""

    beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Decay of the second moment.")
    amsgrad: bool = Field(default=False, description="AMSGrad's maximum of second moments.")


OPTIMIZERS: dict[str, type[Params]] = {"sgd": SgdParams, "adam": AdamParams, "adamw": AdamParams}
"""Optimizers by name: they are a table, not a kind of plugin."""


class OptimizerParams(NamedParams):
    """The optimizer and the rates of the parameter groups."""

    name: Literal["sgd", "adam", "adamw"] = Field(description="Name of the optimizer.")
    lr: Rate = Field(
        description="Learning rate of new layers (heads, classifiers).", examples=[0.00035]
    )
    lr_backbone: Rate | None = Field(default=None, description="Of the backbone; default: lr.")
    lr_loss: Rate | None = Field(
        default=None, description="Of losses' weights, if one has any; default: lr."
    )
    weight_decay: Rate = Field(default=5e-4, description="Weight decay of every group.")
    groups: list[GroupRule] = Field(default=[], description="Exceptions by parameter name.")

    @classmethod
    def params_model(cls, name: str, catalog: Catalog) -> type[Params]:
        """Return the options of an optimizer."""
        return OPTIMIZERS[name]


class LossWarmup(Params):
    """A total loss that starts small where other recipes start with a small rate."""

    epochs: float = Field(gt=0, le=LONGEST_EPOCHS, description="Length in epochs (> 0).")
    start: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Weight that the first step rises from, 0 to 1; the last one has 1.",
    )


class FreezeRule(Params):
    """Parameters that stand still in the first epochs, with the BN statistics of their modules."""

    match: str = Field(
        description="Glob on the parameter's name, e.g. 'model.backbone.*'.",
        examples=["model.backbone.*"],
    )
    epochs: Positive = Field(
        description="Epochs before they are trained (>= 1); of several rules the longest holds."
    )


class TrainParams(Params):
    """The training run."""

    epochs: int = Field(
        ge=1,
        le=LONGEST_EPOCHS,
        description="Epochs in all.",
        examples=[120],
        json_schema_extra=FREE,
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything random.")
    steps_per_epoch: Positive | None = Field(
        default=None,
        description="Steps of an epoch: the sampler's epochs are joined or cut to it; default: "
        "the length of the sampler's epoch. Images that a callback labels need it.",
    )
    device: str | None = Field(
        default=None,
        pattern=DEVICE,
        description="The same as 'device' in 'compute'.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    deterministic: bool = Field(
        default=False, description="Ask torch for deterministic algorithms on a GPU (slower)."
    )
    evaluate_every: int = Field(
        default=0,
        ge=0,
        le=LARGEST_COUNT,
        description="Epochs between evaluations; 0: only after the last.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    checkpoint_every_steps: int = Field(
        default=0,
        ge=0,
        le=LARGEST_COUNT,
        description="Steps between checkpoints within an epoch; 0: at its end.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    log_every: Positive = Field(
        default=10,
        description="Steps between lines of metrics.jsonl; the last step of an epoch has one too.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    baselines: bool = Field(
        default=False,
        description="Before training, score the untrained network and a colour histogram.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    fine_tune: bool = Field(default=False, description="Freeze the backbone and its BN statistics.")
    freeze: list[FreezeRule] = Field(
        default=[], description="What is frozen at the beginning, by parameter name."
    )
    loss_warmup: LossWarmup | None = Field(
        default=None,
        description="Minimise the total times a weight that rises to 1 over the first epochs, in "
        "each step; what is logged is not weighted.",
    )
    pretrain_snapshot: PathText | None = Field(
        default=None,
        description="Weights file to start from. Its classifiers are used only if it was trained "
        "on the same identities in the same order; otherwise they start anew.",
        json_schema_extra={"in_weights": False},
    )


class ComputeParams(Params):
    """Where and how the network is computed."""

    device: str = Field(
        default="auto", pattern=DEVICE, description="'auto', 'cpu', 'cuda' or 'cuda:<n>'."
    )


def _check_device(key: str, device: str | None, compute: ComputeParams) -> None:
    """Refuse two devices in the two places that can name one."""
    if device is not None and compute.device not in ("auto", device):
        raise ValueError(
            f"'{key}' is '{device}' and 'compute.device' is '{compute.device}'; name one of them"
        )


class ExtractionParams(Params):
    """Test-time averaging: the network's raw outputs for several versions of each image."""

    flip: bool = Field(default=False, description="Average with the mirrored image.")
    scales: tuple[Annotated[float, Field(gt=0, le=LARGEST_FACTOR)], ...] = Field(
        default=(1.0,),
        strict=False,  # a strict tuple would refuse the lists that JSON has
        min_length=1,
        description="Sizes, as factors on height and width, whose vectors are averaged.",
    )


class EvaluationEntry(Entry[EvaluatorComponent]):
    """An evaluator and the target that it scores; the first one chooses the best model."""

    kind = "evaluator"
    target: str | None = Field(default=None, description="Name in targets; default: the first.")
    distance: DistanceEntry | None = Field(
        default=None,
        validate_default=True,
        description="What images are compared by; default: the evaluator's own.",
    )
    postprocess: list[PostprocessEntry] = Field(
        default=[], description="Steps between features and ranking, in order, e.g. k_reciprocal."
    )

    @field_validator("distance", mode="wrap")
    @classmethod
    def _default_distance(cls, given: Any, handler: Any, info: ValidationInfo) -> Any:
        """Fill in the distance that the evaluator compares by, so that it never goes unsaid."""
        if given is not None or info.context is None or "name" not in info.data:
            return handler(given)
        offer: Offer = info.context.offer(cls.kind, info.data["name"])
        evaluator = cast(EvaluatorComponent, offer.component)
        if evaluator.distance is None or not evaluator.takes("distance"):
            return None
        offered = {o.qualified_name for o in info.context.offers_of("distance", evaluator.distance)}
        # Its own package's, if there is one: another package may have taken the name since.
        own = f"{offer.distribution}:{evaluator.distance}"
        name = own if own in offered else evaluator.distance
        try:
            info.context.offer("distance", name)
        except ReidError as error:
            raise ValueError(f"{offer} compares by a distance of its own: {error}") from None
        return handler({"name": name})


class ModelParams(Params):
    """The sections that make a network and its input; a weights file carries them."""

    backbone: BackboneEntry
    head: list[HeadEntry] = Field(min_length=1, description="Heads; embeddings concatenate.")
    classifier: ClassifierParams = Field(default=ClassifierParams())
    augmentation: list[AugmentationEntry] = Field(
        min_length=1, description="Image operations in order."
    )


class RunParams(ModelParams):
    """params.json."""

    data: DataParams = Field(json_schema_extra={"in_weights": False})
    loss: list[LossEntry] = Field(
        description="Weighted losses; [] where no objective reads them, as 'supervised' does."
    )
    objective: list[ObjectiveEntry] = Field(
        default=[{"name": "reid-core:supervised"}],
        validate_default=True,
        min_length=1,
        description="What a step minimises.",
    )
    sampler: SamplerEntry
    optimizer: OptimizerParams
    schedule: ScheduleEntry = Field(
        default={"name": "reid-core:constant"},
        validate_default=True,
        description="Learning rate over time.",
        json_schema_extra=FREE,  # its steps so far are compared
    )
    train: TrainParams
    callback: list[CallbackEntry] = Field(
        default=[], description="What happens between epochs, in order."
    )
    logger: list[LoggerEntry] = Field(
        default=[{"name": "reid-core:tensorboard"}],
        validate_default=True,
        description="Where the lines of metrics.jsonl also go.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    compute: ComputeParams = Field(
        default=ComputeParams(), json_schema_extra=FREE_AND_NOT_IN_WEIGHTS
    )
    extraction: ExtractionParams = Field(
        default=ExtractionParams(),
        description="Test-time averaging in every evaluation.",
        json_schema_extra=FREE_UNTIL_SCORED,
    )
    evaluation: list[EvaluationEntry] = Field(
        default=[], description="Evaluators.", json_schema_extra=FREE_UNTIL_SCORED
    )
    working_dir: PathText = Field(
        default="runs",
        description="Folder of run directories and stores.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )
    plugins: dict[str, str] = Field(
        default={},
        description="Record in resolved params: distributions and versions in use.",
        json_schema_extra=FREE_AND_NOT_IN_WEIGHTS,
    )

    @property
    def device(self) -> str:
        """Return where the network is trained."""
        return self.train.device or self.compute.device

    @model_validator(mode="after")
    def _one_device(self) -> RunParams:
        _check_device("train.device", self.train.device, self.compute)
        return self


OF_IMAGES = ("targets", "extraction", "batch_size", "workers", "working_dir", "features_format")
"""Fields of ``EvalParams`` that say how the features of images are made and kept."""


class EvalParams(Params):
    """eval_params.json: exactly one of run, weights and features says what is scored."""

    run: PathText | None = Field(default=None, description="A run directory; its best weights.")
    weights: PathText | None = Field(default=None, description="A weights file alone.")
    features: dict[str, PathText] | None = Field(
        default=None,
        description="Saved features: file by split, e.g. query and gallery; npz, safetensors or "
        "a MATLAB file that has both (docs/features.md).",
    )
    targets: dict[FileName, DatasetEntry] | None = Field(
        default=None, description="Datasets by name; default: those of the run."
    )
    extraction: ExtractionParams | None = Field(
        default=None, description="Test-time averaging; default: the run's, else none."
    )
    evaluation: list[EvaluationEntry] | None = Field(
        default=None, description="Evaluators; default: those of the run."
    )
    batch_size: BatchSize = Field(default=128, description="Images per batch.")
    workers: int = Field(
        default=0, ge=0, le=MOST_WORKERS, description="Loader processes, at most one per core."
    )
    compute: ComputeParams = Field(default=ComputeParams())
    device: str | None = Field(
        default=None, pattern=DEVICE, description="The same as 'device' in 'compute'."
    )
    working_dir: PathText | None = Field(
        default=None, description="Folder of the stores; default: the run's, else 'runs'."
    )
    output_dir: PathText | None = Field(
        default=None, description="Folder for scores, features and pictures; default: none."
    )
    features_format: Literal["npz", "safetensors"] = Field(
        default="npz", description="How features are written to output_dir."
    )

    @model_validator(mode="after")
    def _one_source(self) -> EvalParams:
        _check_device("device", self.device, self.compute)
        given = [k for k in ("run", "weights", "features") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of 'run', 'weights' and 'features' ({len(given)} given)"
            )
        if self.weights is not None and not self.targets:
            raise ValueError("'weights' needs 'targets': the datasets to score on")
        if self.features is not None and self.evaluation is None:
            raise ValueError("'features' needs 'evaluation': the evaluators to run")
        if self.features is not None and (unread := self._given(*OF_IMAGES)):
            raise ValueError(
                f"'features' are extracted already: {', '.join(unread)} would have no effect; "
                "leave it out"
            )
        if self.output_dir is None and (unread := self._given("features_format")):
            raise ValueError(f"{unread[0]} needs 'output_dir', where features are written")
        return self

    def _given(self, *names: str) -> list[str]:
        """Return, in quotes, which of some fields have another value than their default."""
        fields = type(self).model_fields
        return [f"'{name}'" for name in names if getattr(self, name) != fields[name].default]
