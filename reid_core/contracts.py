"""What plugins build and the records that they hand to each other; loads no torch.

Every kind has a Protocol here that says what its ``build`` returns; a dataset's returns a
``Listing``, and ``Distance`` and ``Postprocess`` are those of ``reid_evaluate``. A class need not
name its Protocol: to have the members is enough. What a plugin is given it leaves as it is: it
returns new tensors and arrays and writes into none, unless a method says so.

Shapes: B images in a batch, C/h/w a feature map, d the size of a branch, D of the whole
embedding, N images of a split.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from reid_core.declared_values import each

if TYPE_CHECKING:
    import argparse

    import numpy as np
    import torch
    from torch import Tensor, nn

    from reid_evaluate.distances.comparison import Comparison as Comparison
    from reid_evaluate.distances.comparison import Distance as Distance
    from reid_evaluate.distances.comparison import Keys as Keys
    from reid_evaluate.distances.comparison import Postprocess as Postprocess
    from reid_evaluate.distances.comparison import Vectors as Vectors

UNKNOWN_CAMERA = -1
"""The camid of an image whose camera is not known."""

CAMID = "camid"
"""The column that all images have."""

SPLITS = ("train", "val", "query", "gallery", "multi_query", "extra")
"""The splits that a dataset may fill."""

Classes = tuple[tuple[str, str], ...]
"""The identities of a training: (dataset, pid) of every label, in their order."""

SideValues = Mapping[str, tuple[tuple[str, int | str], ...]]
"""What a network may be told beside its images: by column, the (dataset, value) that each number
from 0 stands for."""

History = Sequence[tuple[int, float]]
"""(epochs done, primary score) of every evaluation so far."""


# ---- data -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageRecord:
    """One image of a dataset before it is packed.

    Attributes:
        name: Path relative to the dataset's root, with forward slashes; unique per split. One name
            in two splits is one image: the junk rule ``exclude_self`` goes by it.
        split: One of ``SPLITS``.
        pid: Identity, any string but an empty one; None: not known.
        camid: Camera, 0 or larger; ``UNKNOWN_CAMERA`` when not known.
        source: The file, or a function that returns the encoded bytes.
        junk: Never counted, neither as right nor as wrong (Market-1501's -1).
        distractor: Never a right answer (Market-1501's 0).
        columns: Further facts by name, whole numbers or short strings, such as ``clothes``,
            ``track``, ``time``, ``modality``; a column has one type in a dataset. -1 and ``""``
            are unknown, as is what is left out.
        extras: What is packed beside the picture, by name: a file, or a function that returns
            its bytes; ``Listing.extras`` says what each is.
    """

    name: str
    split: str
    pid: str | None
    camid: int
    source: Path | Callable[[], bytes]
    junk: bool = False
    distractor: bool = False
    columns: Mapping[str, int | str] = field(default_factory=dict, hash=False)
    extras: Mapping[str, Path | Callable[[], bytes]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Listing:
    """What a dataset plugin returns: its images, not yet read.

    Attributes:
        records: Every image.
        root: Folder that all files must lie in; None when nothing is read from disk.
        published: Known (identities, images) per split; a difference is reported. Junk and
            distractors count as images and not as identities.
        extras: What the records' extras are, by name: ``"mask"``, a picture of the image's size
            with one number 0 to 255 a pixel, 0 where there is nothing; ``"text"``, UTF-8.
        skipped: What lies there and is not read: paths from the root of files, and of folders with
            a '/' at the end. Packing says how many they are, and the store's manifest.
        warnings: What else the user should know of the images, a sentence each, likewise.
    """

    records: list[ImageRecord]
    root: Path | None = None
    published: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    extras: Mapping[str, Literal["mask", "text"]] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Sample:
    """An image with the masks that move with it, or a batch of them.

    Attributes:
        image: As the stage of the augmentation has it: an RGB ``PIL.Image``, ``(3, H, W)`` or
            ``(B, 3, H, W)``.
        masks: By name, of the image's size: ``PIL.Image`` of mode ``L``, ``(H, W)`` or
            ``(B, H, W)`` uint8; empty where nobody reads any.
    """

    image: Any
    masks: Mapping[str, Any] = field(default_factory=dict)


class Augmentation(Protocol):
    """An operation on images; it must survive pickling, since loader processes receive it."""

    def __call__(self, image: Any, rng: Any, /) -> Any:
        """Return the new image, as a new object.

        Args:
            image: An RGB ``PIL.Image`` at the stage ``pil``, ``(3, H, W)`` float32 at the stage
                ``tensor``, ``(B, 3, H, W)`` at the stage ``batch``; a ``Sample`` of it, and a
                ``Sample`` is returned, where the component declares ``extras="moves"``.
            rng: A ``numpy.random.Generator`` that depends on (seed, epoch, index) alone; at the
                stage ``batch`` a list of B of them. Preprocessing leaves it alone.
        """


class BatchSampler(Protocol):
    """The order of the training images, which depends on (seed, epoch, rank) alone."""

    def set_epoch(self, epoch: int, /) -> None:
        """Choose the epoch, from 0, that the next iterator serves."""

    def __len__(self) -> int:
        """Return the batches of an epoch, the same in every epoch and on every rank."""

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield this rank's share of each batch as pairs (epoch, index of the image)."""


class Preprocessing(Protocol):
    """How pictures become the network's input, without augmentation."""

    @property
    def height(self) -> int:
        """Return the height of the input in pixels."""

    @property
    def width(self) -> int:
        """Return the width of the input in pixels."""

    @property
    def colours(self) -> np.ndarray:
        """Return ``(4, 3)``: what black, red, green and blue pictures become, per channel."""

    @property
    def operations(self) -> str:
        """Return the operations and their params as text, for messages."""

    def same_size(self, other: Preprocessing, /) -> bool:
        """Return whether both give inputs of one size."""

    def same_colours(self, other: Preprocessing, /) -> bool:
        """Return whether both normalise alike; how pictures are interpolated may differ."""


@dataclass(frozen=True)
class Batch:
    """Images of one training step.

    Attributes:
        images: ``(B, 3, H, W)`` float32, normalised.
        pids: ``(B,)`` int64 labels, 0 to num_pids - 1; -1 for an image without identity.
        camids: ``(B,)`` int64, -1 unknown.
        source: ``(B,)`` int64, which dataset the image comes from.
        index: ``(B,)`` int64, position among all training images.
        columns: ``(B,)`` int64 by name, the columns that somebody asked for: numbered from 0
            over the (dataset, value) of the training images, in their order; -1 unknown.
        extras: Likewise the extras: masks ``(B, H, W)`` uint8, texts a list of B strings.
    """

    images: Tensor
    pids: Tensor
    camids: Tensor
    source: Tensor
    index: Tensor
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor | list[str]] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; the data loader calls this for GPUs."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor changed."""
        return Batch(
            change(self.images),
            change(self.pids),
            change(self.camids),
            change(self.source),
            change(self.index),
            each(self.columns, change),
            each(self.extras, lambda extra: extra if isinstance(extra, list) else change(extra)),
        )


# ---- params files -----------------------------------------------------------------------

ParamsKind = Literal["run", "eval"]
"""What a params file is for: ``"run"`` params.json, ``"eval"`` eval_params.json."""


@dataclass(frozen=True)
class Translation:
    """A params file of another system in our vocabulary.

    Attributes:
        params: The params as our own JSON file would hold them; they share nothing with the
            file that they come from.
        notes: One ``"key: what happened"`` line for every key of the old file that has no
            effect or another meaning, or that says what the other system had in its source.
    """

    params: dict[str, Any]
    notes: tuple[str, ...] = ()


class Translator(Protocol):
    """Turns the params files of one other system into ours; it never changes what it reads."""

    def recognises(self, raw: Mapping[str, Any], kind: ParamsKind) -> bool:
        """Return whether a JSON object is this system's file of that kind, right or wrong.

        A file of ours is none, nor is one that only might be this system's.
        """

    def translate(self, raw: Mapping[str, Any], kind: ParamsKind, source: str) -> Translation:
        """Return a recognised file in our vocabulary; ``source`` names it in messages.

        Raises:
            ParamsError: With all problems of the file.
        """


# ---- time -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """Where the training stands; every part with ``set_progress(progress)`` receives it.

    Attributes:
        epoch: Epoch in work, from 0.
        epochs: Epochs in all.
        step: Optimizer steps done since the start, over all epochs.
        steps_per_epoch: Optimizer steps of one epoch.
        accuracy: Running mean of the identity accuracy, 0 to 1, renewed every ten steps;
            0 before that.
        seed: The run's seed.
    """

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    accuracy: float = 0.0
    seed: int = 0

    @property
    def fraction_of_epochs(self) -> float:
        """Return the epochs done so far as a real number, e.g. 2.5."""
        return self.step / max(1, self.steps_per_epoch)

    def generator(self, name: str) -> torch.Generator:
        """Return a torch generator that depends on (seed, step, name), never on the rank."""
        import numpy as np
        import torch

        words = np.random.SeedSequence([self.seed, self.step, zlib.crc32(name.encode())])
        return torch.Generator().manual_seed(int(words.generate_state(1, np.uint64)[0] >> 1))


def parts_with(method: str, parts: Iterable[object]) -> list[Any]:
    """Return the parts that define a method, e.g. ``set_progress`` or ``after_step``."""
    return [part for part in parts if callable(getattr(part, method, None))]


class Schedule(Protocol):
    """The learning rate over time."""

    def __call__(self, progress: Progress, history: History, /) -> float:
        """Return the factor on every group's own rate, 0 or larger.

        Pure: of the same progress and history it is always the same. Only a schedule that
        declares ``reads_scores`` may look at the history.
        """


# ---- model ------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureMap:
    """Output of a backbone.

    Attributes:
        map: ``(B, C, h, w)``.
        tokens: ``(B, K, C)`` of a transformer, that of the whole image first, without those of
            the map; None for others.
        maps: Maps of earlier stages by name, ``(B, c, h', w')``.
    """

    map: Tensor
    tokens: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)


class Backbone(Protocol):
    """A network from images to feature maps, an ``nn.Module``."""

    @property
    def out_channels(self) -> int:
        """Return C."""

    @property
    def stride(self) -> int:
        """Return the input pixels per cell of the map."""

    @property
    def stages(self) -> Mapping[str, nn.Module]:
        """Return the stages by name, in order, so that a head may copy the last one."""

    def __call__(self, images: Tensor, side: Mapping[str, Tensor], /) -> FeatureMap:
        """Map images ``(B, 3, H, W)`` to ``(B, C, H / stride, W / stride)``, rounded up or down.

        Args:
            images: Normalised.
            side: The columns that the component names in ``side``, ``(B,)`` int64, numbered as
                in ``Batch.columns``; -1 for what is unknown, such as a camera that no training
                image is from.
        """


@dataclass(frozen=True)
class BranchSpec:
    """A head's promise about one of its branches.

    Attributes:
        name: Unique within the model; letters (A-Z, a-z), digits and ``_``.
        dim: Size d of the branch's vectors.
        classifier: Key of the linear layer that classifies it, written like a name; branches
            with one key share the layer; None for branches that are never classified.
        roles: Losses that take it by default: ``"id"``, ``"metric"`` or both.
        in_test: The branch is part of the test embedding.
    """

    name: str
    dim: int
    classifier: str | None
    roles: frozenset[Literal["id", "metric"]]
    in_test: bool = True


@dataclass(frozen=True)
class Branch:
    """Vectors of one branch: ``feature (B, d)`` before the neck's BN, ``embedding`` after."""

    feature: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class HeadOutput:
    """What a head returns: every declared branch by name, and extra values ``(B, ...)``."""

    branches: Mapping[str, Branch]
    aux: Mapping[str, Tensor] = field(default_factory=dict)


class Head(Protocol):
    """A network from a feature map to named branches, an ``nn.Module``."""

    @property
    def branches(self) -> tuple[BranchSpec, ...]:
        """Return the branches; they are complete before the first forward."""

    def __call__(self, features: FeatureMap, /) -> HeadOutput:
        """Return exactly these branches, the same in training and evaluation."""


@dataclass(frozen=True)
class ModelOutput:
    """What the model returns, the same in training and evaluation.

    Attributes:
        embedding: ``(B, D)``, the test branches after BN, concatenated; not normalised.
        feature: ``(B, D)``, the same branches before BN.
        branches: Every branch of every head by name.
        logits: ``(B, num_pids)`` by branch name, where a classifier exists.
        aux: Extra values of the heads.
    """

    embedding: Tensor
    feature: Tensor
    branches: Mapping[str, Branch]
    logits: Mapping[str, Tensor]
    aux: Mapping[str, Tensor]


class Network(Protocol):
    """A backbone, its heads and classifiers, an ``nn.Module``."""

    @property
    def branches(self) -> tuple[BranchSpec, ...]:
        """Return every branch of every head, in the order of the params."""

    @property
    def embedding_dim(self) -> int:
        """Return D."""

    @property
    def backbone_name(self) -> str:
        """Return the name of the backbone's component."""

    @property
    def side_values(self) -> SideValues:
        """Return the columns that the backbone looks at, with what their numbers stand for."""

    @property
    def classifier(self) -> nn.ModuleDict:
        """Return the linear layers, ``d`` to ``num_pids``, by the key that a branch names."""

    def to(self, device: torch.device, /) -> Network:
        """Move the network to a device and return it."""

    def __call__(self, images: Tensor, side: Mapping[str, Tensor] | None = None, /) -> ModelOutput:
        """Map images ``(B, 3, H, W)`` to every branch and the joint embedding.

        Args:
            images: Normalised.
            side: As a backbone takes it; what is left out is unknown.
        """


class TrainedModel(Protocol):
    """A trained network with all that another training must know of it."""

    @property
    def path(self) -> Path:
        """Return its weights file."""

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of that file, 32 bytes."""

    @property
    def model(self) -> Network:
        """Return the network: on the CPU, in evaluation mode and without gradients."""

    @property
    def classes(self) -> Classes:
        """Return whom each of its logits stands for."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what it expects of its input."""


# ---- losses -----------------------------------------------------------------------------


@dataclass(frozen=True)
class LossInput:
    """What a loss sees of one branch; everything is float32 and outside autocast.

    Attributes:
        features: ``(B, d)``, chosen and normalised as the params entry says.
        pids: ``(B,)`` int64 labels, 0 to num_pids - 1: images without identity are left out.
        camids: ``(B,)`` int64, -1 unknown.
        progress: Where the training stands.
        weight: ``(num_pids, d)`` of the branch's classifier, for losses that need it.
        logits: ``(B, num_pids)``, likewise.
        aux: Extra values of the heads, ``(B, ...)``.
        columns: Of the batch, as ``Batch`` has them.
        extras: Likewise.
        index: ``(B,)`` int64, position among all training images.
    """

    features: Tensor
    pids: Tensor
    camids: Tensor
    progress: Progress
    weight: Tensor | None = None
    logits: Tensor | None = None
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor | list[str]] = field(default_factory=dict)
    index: Tensor | None = None


@dataclass(frozen=True)
class LossOutput:
    """What a loss says of one branch; its weight stands in the params.

    Attributes:
        value: 0-d, attached to the graph; a batch that says nothing gives 0.
        monitors: Detached 0-d numbers by name, the same names in every step; they are logged.
        accuracy: Detached 0-d, the identity accuracy without margins, 0 to 1; its running mean
            is ``Progress.accuracy``. None: the loss recognises nobody.
    """

    value: Tensor
    monitors: Mapping[str, Tensor] = field(default_factory=dict)
    accuracy: Tensor | None = None


class Loss(Protocol):
    """A loss on one branch; an ``nn.Module`` when it has parameters or buffers.

    It may define ``after_step()`` to update its own buffers, and ``set_progress(progress)``.
    """

    def __call__(self, x: LossInput, /) -> LossOutput:
        """Return value, monitors and accuracy; a batch that says nothing gives an attached 0."""


@dataclass(frozen=True)
class Term:
    """A part of the total that a step minimises; the total is the sum of ``weight * value``.

    Attributes:
        value: 0-d, attached to the graph.
        weight: Factor in the total.
        monitors: As those of ``LossOutput``.
        accuracy: Likewise.
    """

    value: Tensor
    weight: float = 1.0
    monitors: Mapping[str, Tensor] = field(default_factory=dict)
    accuracy: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """What an objective sees.

    Attributes:
        batch: The images of the step.
        model: The network that is trained.
        outputs: What it says of them.
        progress: Where the training stands.
        streams: The batches of ``data.streams`` by name, one for each view; the network has not
            seen them.
    """

    batch: Batch
    model: Network
    outputs: ModelOutput
    progress: Progress
    streams: Mapping[str, tuple[Batch, ...]] = field(default_factory=dict)


class Objective(Protocol):
    """A part of what training minimises; an ``nn.Module`` when it has state.

    Its buffers and sub-modules are saved in the checkpoint. A sub-module that is not trained,
    such as a teacher, is named in its attribute ``untrained``, a tuple of names: it gets no
    gradient, is left out of the optimizer and stays in evaluation mode.
    """

    def __call__(self, step: Step, /) -> dict[str, Term]:
        """Return terms by name; the core sums ``weight * value``."""


# ---- around the training ----------------------------------------------------------------


@dataclass(frozen=True)
class Relabelling:
    """New identities of all training images, as ``CallbackContext.relabel`` was given them.

    Attributes:
        old: ``(N,)`` int64, the labels before; -1 left out.
        new: ``(N,)`` int64, the labels now; -1 left out.
        num_pids: Identities now.
        features: Of all N images, if the callback handed them over: a memory starts from them.
    """

    old: np.ndarray
    new: np.ndarray
    num_pids: int
    features: Features | None = None


class CallbackContext(Protocol):
    """What a callback may look at and do."""

    @property
    def progress(self) -> Progress:
        """Return where the training stands.

        ``epoch`` counts the epochs done: 0 before the first one, 1 after it.
        """

    @property
    def model(self) -> Network:
        """Return the network that is trained; its ``state_dict()`` gives the live tensors."""

    @property
    def labels(self) -> np.ndarray:
        """Return ``(N,)`` int64, the label of every training image now; -1 left out."""

    def extract(
        self,
        split: str = "train",
        target: str | None = None,
        outputs: Sequence[str] = ("embedding",),
    ) -> Features:
        """Return what the network says of images: evaluation mode, preprocessing alone.

        Args:
            split: Of a target.
            target: Name in ``data.targets``; None: all training images, in the order of
                ``Batch.index``.
            outputs: Of ``"embedding"``, ``"feature"``, ``"logits"`` and ``"aux.<name>"``.
        """

    def log(self, values: Mapping[str, float]) -> None:
        """Write numbers into metrics.jsonl and to the loggers, under the callback's name."""

    def relabel(self, labels: np.ndarray, features: Features | None = None) -> None:
        """Give the training images other identities, from the coming epoch on.

        The sampler is built anew over the images that are left. What was built with
        ``num_pids`` is built anew: classifiers and their optimizer state, losses and
        objectives; a part that defines ``set_classes(relabelling)`` is kept and gets a
        ``Relabelling`` instead. All else keeps its weights and its optimizer state.

        Args:
            labels: ``(N,)`` int64 of 0 to num_pids - 1, each used; -1 leaves an image out.
            features: Of the N images, for parts that start from them.

        Raises:
            ReidError: The labels cannot be trained on, or it is not before an epoch.
        """


class Callback:
    """Something that happens between epochs; a subclass overrides what it needs.

    The order of things: ``before_epoch``, the steps, ``after_epoch``, a checkpoint; where an
    evaluation is due, the evaluation, ``after_evaluation``, a checkpoint. A run that is resumed in
    the middle of an epoch gets its state back and goes on with the steps: ``before_epoch`` is not
    called again. Nothing is called between steps; an objective sees each of them.

    The other parts of a training do not know of it; it changes the run through its context alone.
    What ``after_epoch`` leaves in the weights of ``context.model`` is scored and saved: an average
    that takes their place gives them back in ``before_epoch`` and keeps both in its state.
    """

    def before_epoch(self, context: CallbackContext, /) -> None:
        """Do something before an epoch; only here are images relabelled."""

    def after_epoch(self, context: CallbackContext, /) -> bool | None:
        """Do something after an epoch; True ends the training."""

    def after_evaluation(
        self, context: CallbackContext, results: Mapping[str, Scores], /
    ) -> bool | None:
        """Look at the scores by ``<evaluator>/<target>``, in order; True ends the training."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return what the checkpoint keeps: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take back what ``state_dict`` has returned."""


class Logger:
    """Receives every line of metrics.jsonl; it cannot change the training."""

    def write(self, record: Mapping[str, Any], /) -> None:
        """Take a line: JSON values with ``kind`` (``train``, ``evaluation``, ...) and ``step``."""
        raise NotImplementedError

    def flush(self) -> None:
        """Bring everything to the disk: a checkpoint is about to be written."""

    def close(self) -> None:
        """End the work."""


# ---- evaluation -------------------------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """What the model says of one split; raw, nothing is normalised.

    Attributes:
        values: ``(N, D)`` float32 arrays: ``"embedding"``, ``"feature"``, ``"logits"``,
            and ``"aux.<name>"``, as far as an evaluator asked for them.
        pids: ``(N,)`` strings; ``""`` where the identity is not known.
        camids: ``(N,)`` int64, -1 unknown.
        names: ``(N,)`` strings, paths relative to the dataset's root.
        junk: ``(N,)`` bool.
        distractor: ``(N,)`` bool.
        classes: Identity of each logit, as the dataset spells it.
        meta: Facts for the protocol card: ``dataset``, ``content_hash``, ``model``,
            ``split``, ``images``, and ``flip`` and ``scales`` where extraction averages mirrored
            images and several sizes.
        names_are_made_up: The images came without names. Theirs tell the images of the split
            apart and say nothing of an image in another split or file.
        columns: Further facts of the images by name, ``(N,)`` int64 or strings; -1 and ``""``
            unknown.
    """

    values: Mapping[str, np.ndarray]
    pids: np.ndarray
    camids: np.ndarray
    names: np.ndarray
    junk: np.ndarray
    distractor: np.ndarray
    classes: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    names_are_made_up: bool = False
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return N."""
        return len(self.pids)

    def rows(self, at: np.ndarray) -> Features:
        """Return the features of some images, by position."""
        return replace(
            self,
            values=each(self.values, lambda array: array[at]),
            pids=self.pids[at],
            camids=self.camids[at],
            names=self.names[at],
            junk=self.junk[at],
            distractor=self.distractor[at],
            columns=each(self.columns, lambda array: array[at]),
        )


@dataclass(frozen=True)
class Scores:
    """Result of one evaluator.

    Attributes:
        metrics: Numbers by name; fractions between 0 and 1 unless the card says else.
        primary: Name of the metric that chooses the best model; larger is better.
        protocol: Every choice that can change a number, and the sizes and facts behind it, as
            JSON values: for programs, which compare scores by it.
        card: The protocol card: the protocol in words, for people; default: as it is.
        per_query: Arrays with one row per query (AP, first rank, matches, top-k, ...).
        tables: Further arrays, such as a confusion matrix.
        intervals: (low, high) of some metrics, at 95 % confidence.
    """

    metrics: Mapping[str, float]
    primary: str
    protocol: Mapping[str, Any]
    card: Mapping[str, Any] = field(default_factory=dict)
    per_query: Mapping[str, np.ndarray] = field(default_factory=dict)
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the protocol for the card where there are no other words for it."""
        if not self.card:
            object.__setattr__(self, "card", dict(self.protocol))


class Evaluator(Protocol):
    """A protocol that turns features into scores."""

    def __call__(self, splits: Mapping[str, Features], /) -> Scores:
        """Score the splits that the component declares, by name.

        Raises:
            ReidError: They cannot be scored, such as a query without any gallery image.
        """


PartT = TypeVar("PartT", covariant=True)


@dataclass(frozen=True)
class NamedPart(Generic[PartT]):
    """A distance (``NamedPart[Distance]``) or a step (``NamedPart[Postprocess]``) of an evaluator.

    Attributes:
        name: The word in params.
        params: Its checked params as JSON values, for the protocol card.
        part: What the component built, a ``Distance`` or a ``Postprocess`` of ``reid_evaluate``.
        splits: Splits that a step reads beside those of the evaluator.
        aux: Names of values of the heads that a distance reads.
        columns: Columns of the images that a distance reads.
    """

    name: str
    params: Mapping[str, Any]
    part: PartT
    splits: tuple[str, ...] = ()
    aux: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


# ---- program ----------------------------------------------------------------------------


class Command(Protocol):
    """A subcommand of ``reid``."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Declare its arguments."""

    def run(self, args: argparse.Namespace, /) -> int | None:
        """Do the work and return the exit status; None is 0.

        Raises:
            ReidError: It cannot; the message says what to do.
        """
