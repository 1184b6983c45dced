"""The hooks: one per kind of component. Each docstring is the contract of its kind.

Every hook takes no arguments and returns a list of components. A plugin is a module
whose functions carry ``@hookimpl``; it is found through the entry-point group ``reid_core``.
What ``build`` returns is named by its Protocol in ``reid_core.contracts``, which states the
members and their shapes.

Shapes: B images in a batch, C/h/w a feature map, d the size of a branch, D of the
embedding, N identities.
"""

from __future__ import annotations

import inspect
import re

import pluggy

from reid_core.component import (
    AugmentationComponent,
    BackboneComponent,
    Component,
    DistanceComponent,
    EvaluatorComponent,
    LossComponent,
    ObjectiveComponent,
    PostprocessComponent,
    SamplerComponent,
    ScheduleComponent,
    TranslatorComponent,
)

GROUP = "reid_core"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def reid_backbone() -> list[BackboneComponent]:  # type: ignore[empty-body]
    """Networks from images to feature maps.

    ``build(params, *, input_size, side_values) -> Backbone``, an ``nn.Module``. ``input_size`` is
    (height, width) in pixels of the network's input, ``side_values`` the number of values that the
    training has of every column that the component names in ``side``: the network receives each as
    ``(B,)`` int64 of 0 to that number - 1, and -1 where it is unknown, as a camera is that no
    training image is from. It is also built on the meta device, where no weights may be read.
    """


@hookspec
def reid_head() -> list[Component]:  # type: ignore[empty-body]
    """Networks from a feature map to named branches.

    ``build(params, *, in_channels, num_pids, backbone) -> Head``, an ``nn.Module``.
    ``in_channels`` is that of the map and of the tokens. Its ``branches`` are complete before the
    first forward; the output is the same in training and evaluation, and both are run on the meta
    device first.
    """


@hookspec
def reid_loss() -> list[LossComponent]:  # type: ignore[empty-body]
    """Losses, built once for every branch that they are applied to.

    ``build(params, *, dim, num_pids, branch) -> Loss``, called with a ``LossInput`` for a
    ``LossOutput``. The core selects branches, normalises, casts to float32 and leaves autocast. A
    batch that the loss has nothing to say about gives 0, still attached to the graph. A
    module may define ``after_step()`` to update its own buffers.
    """


@hookspec
def reid_sampler() -> list[SamplerComponent]:  # type: ignore[empty-body]
    """Orders of training images.

    ``build(params, *, labels, camids, sources, columns, seed, rank, world_size) ->
    BatchSampler``: a constant ``len`` and an iterator over lists of ``(epoch, index)``, which
    depends on (seed, epoch, rank) alone. ``labels``, ``camids`` and ``sources`` are int64 arrays
    with one entry per training image; a label of -1 is an image without identity, which
    is left out or on its own, never one of one person. ``columns`` has
    what the component names in ``columns``, as the datasets have it: int64 (-1 unknown) or strings
    (``""`` unknown). Batch sizes in params are global: a rank yields its share.
    """


@hookspec
def reid_evaluator() -> list[EvaluatorComponent]:  # type: ignore[empty-body]
    """Protocols that turn features into scores.

    ``build(params, *, distance, postprocess, device) -> Evaluator``, called with ``Features`` by
    split for ``Scores``. ``distance`` and ``postprocess`` are what the entry in params names,
    built: see those kinds; only an entry whose evaluator asks for them may name them. A component
    whose ``build`` asks for a distance names in ``distance`` the one of entries that name none.
    Features arrive raw; the evaluator normalises and says so in the protocol card. Every evaluator
    is rehearsed before the training, on the real labels with what the network says of a blank
    image, and its ``Scores`` are checked then and whenever it scores.
    """


@hookspec
def reid_distance() -> list[DistanceComponent]:  # type: ignore[empty-body]
    """Ways to compare two images.

    ``build(params) -> Distance``, of ``reid_evaluate.distances.comparison``. ``prepare`` raises
    ValueError for images that it cannot compare; ``fill`` writes every key. What the component
    names in ``aux`` and ``columns`` is among the ``Vectors`` that it gets.
    """


@hookspec
def reid_postprocess() -> list[PostprocessComponent]:  # type: ignore[empty-body]
    """Steps between features and ranking, such as re-ranking.

    ``build(params) -> Postprocess``, of ``reid_evaluate.distances.comparison``: from one
    ``Comparison`` to the next. Steps work in the order of the params. A
    step raises ValueError for images that it cannot work on.
    """


@hookspec
def reid_dataset() -> list[Component]:  # type: ignore[empty-body]
    """Sources of images.

    ``build(params, *, skip_unreadable) -> Listing``: the records of every image, what the extras
    beside them are, and the published statistics that they are checked against. What it lists is
    checked and packed once; functions among its sources are called then. ``skip_unreadable`` is
    what the dataset's entry says: where it is true, a file that a list names and that is not there
    is no error but belongs to ``Listing.skipped``.
    """


@hookspec
def reid_augmentation() -> list[AugmentationComponent]:  # type: ignore[empty-body]
    """Image operations.

    ``build(params) -> Augmentation``, called with (image, rng) for the new image, or with (sample,
    rng) for the new sample where the component declares ``extras="moves"``. ``rng`` is a
    ``numpy.random.Generator`` that depends on (seed, epoch, index), at the stage ``batch`` a list
    of them; preprocessing, which is what has a ``use`` other than ``"train"``, must not use it.
    What is built must survive pickling: loader processes receive it.
    """


@hookspec
def reid_schedule() -> list[ScheduleComponent]:  # type: ignore[empty-body]
    """Learning rates over time.

    ``build(params) -> Schedule``, called with (progress, history) for the factor on every
    group's own rate: a pure function. ``history`` is the list of (epoch, score) so far; a
    schedule that reads it declares ``reads_scores`` and is refused where the training is never
    scored.
    """


@hookspec
def reid_objective() -> list[ObjectiveComponent]:  # type: ignore[empty-body]
    """What a training step minimises.

    ``build(params, *, name, losses, model, num_pids, classes, stream_classes, preprocessing,
    load_trained, build_model) -> Objective``, called with a ``Step`` for terms by name. ``name`` is
    that of the entry, numbered where it is repeated (``distillation``, ``distillation_2``): no two
    objectives may give a term of one name, so begin the terms' names with it. ``losses`` is the
    weighted list of the params' ``loss`` section, an ``Objective`` itself, ``model`` the
    ``Network`` that is trained, ``classes`` the (dataset, pid) of every label, ``stream_classes``
    the same of every stream by its name, ``preprocessing`` how the images of a batch were prepared
    (``Preprocessing``). ``load_trained(path)`` opens another trained model by its run directory or
    weights file (``TrainedModel``); ``build_model()`` makes another network of the run's params,
    with random weights. Where shapes alone are checked, on the meta device, ``classes`` and
    ``stream_classes`` are empty and ``preprocessing`` None: read no file there. A
    sub-module that is not trained, such as a teacher, is named in the objective's attribute
    ``untrained``: see ``Objective``.
    """


@hookspec
def reid_callback() -> list[Component]:  # type: ignore[empty-body]
    """What happens between epochs: pseudo labels, averages, an early end.

    ``build(params, *, name, num_images) -> Callback``, which defines what it needs of
    ``before_epoch(context)``, ``after_epoch(context)``, ``after_evaluation(context, results)``,
    ``state_dict()`` and ``load_state_dict(state)``. ``name`` is that of the entry, numbered where
    it is repeated, ``num_images`` the number of training images. ``context`` is a
    ``CallbackContext``. A state that is not in ``state_dict`` is lost when a run is resumed. Where
    shapes alone are checked, ``num_images`` is 1: read no file there.
    """


@hookspec
def reid_logger() -> list[Component]:  # type: ignore[empty-body]
    """Where the lines of metrics.jsonl go beside that file.

    ``build(params, *, directory, step) -> Logger``. ``directory`` is the run directory (a
    ``Path``), ``step`` the step that the run continues from: what is there of later steps belongs
    to a past that was cut off. A logger that fails is named once and left out; the training goes
    on.
    """


@hookspec
def reid_command() -> list[Component]:  # type: ignore[empty-body]
    """Subcommands of ``reid``.

    ``build(params, *, catalog) -> Command``, with ``add_arguments(parser)`` and ``run(args)``,
    which returns the exit status.
    """


@hookspec
def reid_translator() -> list[TranslatorComponent]:  # type: ignore[empty-body]
    """Params files of other systems in our vocabulary.

    ``build(params) -> Translator``, without params: no params file can name a translator.
    Every one is asked whether it recognises a file, as read from JSON; the one that does
    translates it, and what it returns is checked as a file of ours. A file that two recognise is
    refused, so recognise only what no other system's file and no file of ours can be.
    """


KINDS: tuple[str, ...] = (
    "backbone",
    "head",
    "loss",
    "sampler",
    "evaluator",
    "distance",
    "postprocess",
    "dataset",
    "augmentation",
    "schedule",
    "objective",
    "callback",
    "logger",
    "command",
    "translator",
)
"""Every kind: the folder, the hook's suffix, the params key and the column of the tables."""

COMPONENT_TYPES: dict[str, type[Component]] = {
    "backbone": BackboneComponent,
    "loss": LossComponent,
    "sampler": SamplerComponent,
    "objective": ObjectiveComponent,
    "augmentation": AugmentationComponent,
    "schedule": ScheduleComponent,
    "evaluator": EvaluatorComponent,
    "distance": DistanceComponent,
    "postprocess": PostprocessComponent,
    "translator": TranslatorComponent,
}
"""Kinds whose components declare more than a plain ``Component``."""


def hook_words(kind: str) -> tuple[str, str]:
    """Return the first line of a hook's docstring, and the form of ``build`` that it states.

    Raises:
        ValueError: The docstring states no form of ``build``.
    """
    docstring = inspect.getdoc(globals()[f"reid_{kind}"]) or ""
    form = re.search(r"``(build\(params.*?)``", " ".join(docstring.split()))
    if form is None:
        raise ValueError(f"the docstring of reid_{kind} does not say ``build(params, ...)``")
    return docstring.splitlines()[0], form[1]


def build_keywords(kind: str) -> frozenset[str]:
    """Return the keywords that a kind offers to ``build``: those of its hook's docstring."""
    inside = hook_words(kind)[1].removeprefix("build(").partition(")")[0]
    return frozenset(inside.split(", ")) - {"params", "*"}


def contract_of(kind: str) -> str:
    """Return the name of what ``build`` must return: a Protocol or a record of the contracts."""
    return hook_words(kind)[1].rpartition(" -> ")[2]
