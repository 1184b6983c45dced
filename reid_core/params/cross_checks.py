"""Check params across components: what fits with what, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, ValidationError

from reid_core.catalog import Catalog
from reid_core.component import (
    AugmentationComponent,
    Component,
    EvaluatorComponent,
    ObjectiveComponent,
    Params,
    PostprocessComponent,
    ScheduleComponent,
    declared,
)
from reid_core.errors import ReidError, did_you_mean
from reid_core.params.entries import AugmentationEntry, Entry, ObjectiveEntry, ScheduleEntry
from reid_core.params.messages import read_params
from reid_core.params.schema import DataParams, DatasetEntry, EvaluationEntry, TrainParams

STAGES = {"pil": "pictures", "tensor": "tensors", "batch": "batches"}
"""What the stages of image operations work on, in their order."""

REPORTED = (ReidError, ValidationError, PydanticUserError, PydanticUndefinedAnnotation)
"""What looking at an entry raises whose problems have been reported."""


def run_cross_checks(sections: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    """Yield problems within and between the sections that are each right on their own."""
    yield from _comparison_checks(sections.get("evaluation", []), catalog)
    if "data" in sections:
        data: DataParams = sections["data"]
        labels = [entry.label for entry in data.train]
        yield from _label_checks(data.train, "data.train")
        for name, stream in data.streams.items():
            place = f"data.streams.{name}"
            yield from _label_checks(stream.sources, f"{place}.sources")
            yield from _stage_checks(stream.augmentation or [], f"{place}.augmentation", catalog)
            for i, view in enumerate(stream.views if isinstance(stream.views, list) else []):
                yield from _stage_checks(view, f"{place}.views.{i}", catalog)
        yield from _target_checks(sections.get("evaluation", []), list(data.targets) or labels)
        if not sections.get("callback"):  # one may look at any target
            scored_by = sections.get("evaluation", [])
            yield from unscored_targets(data.targets, scored_by, "data.targets")
    yield from _stage_checks(sections.get("augmentation", []), "augmentation", catalog)
    if {"train", "evaluation"} <= sections.keys() and not sections["evaluation"]:
        yield from _unscored_training(sections["train"])
    if {"loss", "objective"} <= sections.keys():
        yield from _loss_checks(sections, catalog)
    if {"data", "objective"} <= sections.keys():
        yield from _stream_checks(sections["data"], sections["objective"], catalog)
    if {"schedule", "train", "evaluation"} <= sections.keys():
        yield from _score_checks(sections, catalog)


def eval_cross_checks(sections: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    """Yield problems within and between the sections that are each right on their own."""
    evaluation, targets = sections.get("evaluation"), sections.get("targets")
    yield from _comparison_checks(evaluation or [], catalog)
    if evaluation == []:
        yield "evaluation: no evaluator is named; add one, or leave 'evaluation' out"
    if targets and sections.get("features") is None:
        yield from _target_checks(evaluation or [], list(targets))
        yield from unscored_targets(targets, evaluation or [], "targets")


def _label_checks(entries: Iterable[DatasetEntry], place: str) -> Iterator[str]:
    """Yield names that several of some datasets have."""
    labels = [entry.label for entry in entries]
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield f"{place}: two datasets are called '{label}'; give each its own 'alias'"


def _stage_checks(
    entries: Iterable[AugmentationEntry], place: str, catalog: Catalog
) -> Iterator[str]:
    """Yield operations that stand behind one of a later stage."""
    last, last_stage = "", ""
    for i, entry in enumerate(entries):
        stage = _stage(catalog, entry)
        if stage not in STAGES:
            continue  # it has been reported
        if last_stage and list(STAGES).index(stage) < list(STAGES).index(last_stage):
            yield (
                f"{place}.{i}.name: '{entry.bare_name}' works on {STAGES[stage]} and must come "
                f"before '{last}', which works on {STAGES[last_stage]}"
            )
        else:
            last, last_stage = entry.bare_name, stage


def _target_checks(evaluation: Iterable[EvaluationEntry], targets: list[str]) -> Iterator[str]:
    for i, entry in enumerate(evaluation):
        if entry.target is not None and entry.target not in targets:
            hint = did_you_mean(entry.target, targets)
            yield (
                f"evaluation.{i}.target: no target '{entry.target}'{hint} "
                f"(targets: {', '.join(targets)})"
            )


def unscored_targets(
    targets: Iterable[str], evaluation: Sequence[EvaluationEntry], place: str
) -> Iterator[str]:
    """Yield a problem for each target that no evaluation scores, unless nothing is scored.

    Beside an evaluation of a target that is not there nothing is said: it may be misspelt.

    Args:
        targets: Names of the targets that were given; the first is the default.
        evaluation: The evaluators.
        place: Where the targets stand in the params.
    """
    names = list(targets)
    scored = {entry.target or names[0] for entry in evaluation if names}
    if scored and scored <= set(names):
        for name in names:
            if name not in scored:
                yield (
                    f'{place}.{name}: no evaluation scores it; add one with "target": '
                    f'"{name}", or leave it out'
                )


def _unscored_training(train: TrainParams) -> Iterator[str]:
    """Yield a problem for each wish about scores in a training that is never scored."""
    for key in ("evaluate_every", "baselines"):
        if getattr(train, key):
            yield f"train.{key}: there is no 'evaluation' to score by; add one, or leave it out"


def _comparison_checks(evaluation: Iterable[EvaluationEntry], catalog: Catalog) -> Iterator[str]:
    """Yield what is wrong with distances and post-processing of evaluators."""
    for i, entry in enumerate(evaluation):
        with suppress(ReidError):  # an unknown name has been reported
            evaluator = cast(EvaluatorComponent, catalog.component("evaluator", entry.name))
            for key in ("distance", "postprocess"):
                if getattr(entry, key) and not evaluator.takes(key):
                    yield f"evaluation.{i}.{key}: '{entry.bare_name}' takes no {key}; leave it out"
            before = ""
            for j, step in enumerate(entry.postprocess):
                component = cast(PostprocessComponent, catalog.component("postprocess", step.name))
                at = f"evaluation.{i}.postprocess.{j}.name: '{step.bare_name}'"
                if before and component.first:
                    yield (
                        f"{at} starts from the vectors and cannot follow '{before}', which changes "
                        "distances; put it first, or leave one of the two out"
                    )
                elif before and component.stage == "features":
                    yield (
                        f"{at} changes features and must come before '{before}', which changes "
                        "distances"
                    )
                before = step.bare_name if component.stage == "distances" else before


def _loss_checks(sections: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    """Yield a problem when losses are named and nobody reads them, or read and none is named."""
    names = []
    for entry in sections["objective"]:
        with suppress(ReidError):  # an unknown name has been reported
            if catalog.component("objective", entry.name).takes("losses"):
                names.append(entry.bare_name)
    if names and not sections["loss"]:
        yield (
            f"loss: needs 1 or more, because the objective '{names[0]}' sums them; name a loss, "
            "or choose other objectives"
        )
    if sections["loss"] and not names:
        known = [o.component.name for o in catalog.offers if o.kind == "objective"]
        if all(entry.bare_name in known for entry in sections["objective"]):
            yield (
                "loss: no objective reads the losses; add the objective 'supervised', or write []"
            )


def _stream_checks(
    data: DataParams, objectives: Iterable[ObjectiveEntry], catalog: Catalog
) -> Iterator[str]:
    """Yield a problem for a stream that is read and not there, or there and not read."""
    read: set[str] = set()
    for i, entry in enumerate(objectives):
        with suppress(*REPORTED):
            component = cast(ObjectiveComponent, catalog.component("objective", entry.name))
            for name in declared(component.streams, _params_of(entry, component)):
                read.add(name)
                if name not in data.streams:
                    yield (
                        f"objective.{i}: '{entry.bare_name}' reads the stream '{name}'"
                        f"{did_you_mean(name, data.streams)}; add 'data.streams.{name}'"
                    )
    for name in sorted(data.streams.keys() - read):
        yield f"data.streams.{name}: no objective reads it; add one that does, or leave it out"


def _params_of(entry: Entry[Any], component: Component) -> Params:
    """Return the params of an entry; those of a file with problems are not read yet."""
    given: Any = entry.params
    return read_params(component.params, given) if isinstance(given, dict) else given


def _score_checks(sections: Mapping[str, Any], catalog: Catalog) -> Iterator[str]:
    """Yield a problem when the schedule follows scores and the training is never scored."""
    train: TrainParams = sections["train"]
    schedule: ScheduleEntry = sections["schedule"]
    if train.evaluate_every and sections["evaluation"]:
        return
    if _reads_scores(schedule, catalog):
        key, remedy = (
            ("train.evaluate_every", "set it to 1 or more")
            if sections["evaluation"]
            else ("evaluation", "add an evaluator")
        )
        yield (
            f"{key}: the schedule '{schedule.bare_name}' follows the scores of evaluations during "
            f"the training, and there are none; {remedy} or choose another schedule"
        )


def _reads_scores(entry: ScheduleEntry, catalog: Catalog) -> bool:
    """Return whether a schedule follows scores; False if its entry has been reported."""
    with suppress(*REPORTED):
        component = cast(ScheduleComponent, catalog.component("schedule", entry.name))
        _params_of(entry, component)
        return component.reads_scores
    return False


def _stage(catalog: Catalog, entry: AugmentationEntry) -> str | None:
    """Return where an augmentation stands; None if its name has been reported."""
    try:
        return cast(AugmentationComponent, catalog.component("augmentation", entry.name)).stage
    except ReidError:
        return None
