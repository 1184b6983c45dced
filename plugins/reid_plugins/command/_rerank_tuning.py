"""The images that ``reid tune-rerank`` searches on, and the search.

The test set is not touched unless it is asked for by name: parameters that were chosen on it
say nothing about other images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reid_core import ReidError
from reid_core.catalog import Catalog
from reid_core.compute.device import choose_device
from reid_core.contracts import Features, NamedPart
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.evaluation.evaluate_command import model_under_test, what_to_score
from reid_core.evaluation.targets import Targets
from reid_core.features.extraction import ModelUnderTest
from reid_core.features.feature_files import load_features
from reid_core.files import user_path
from reid_core.params.schema import EvalParams, EvaluationEntry
from reid_core.storage.store import Store
from reid_evaluate.distances.comparison import Distance
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.protocols.rule_data import JUNK_RULES, JunkRule, columns_of, data_of, rule_of
from reid_evaluate.ranking.keys import Keyed, compare
from reid_evaluate.ranking.rank_queries import TIE_RULE
from reid_evaluate.reranking.rerank_search import Trial, search
from reid_plugins.toolkit.image_sets import image_set

SHARE = 0.3
"""Of the training identities, unless another is asked for."""


def _default_distance() -> NamedPart[Distance]:
    return NamedPart("cosine", {}, Cosine())


@dataclass(frozen=True)
class Protocol:
    """How images are compared and scored.

    Attributes:
        output: The vector that is compared.
        outputs: Arrays per image that this takes: the vector, and what the distance reads.
        columns: Columns of the images that distance and junk rule read.
        distance: Compares them.
        junk_rule: Which gallery images a query is not scored on.
    """

    output: str = "embedding"
    outputs: frozenset[str] = frozenset({"embedding"})
    columns: frozenset[str] = frozenset()
    distance: NamedPart[Distance] = field(default_factory=_default_distance)
    junk_rule: JunkRule = "cross_camera"

    @property
    def spelt(self) -> str:
        """Return the distance for the card."""
        params = ", ".join(f"{name}={value}" for name, value in self.distance.params.items())
        return f"{self.distance.name}({params})" if params else self.distance.name


@dataclass(frozen=True)
class Images:
    """Queries and gallery to search on, how they are compared, and the facts for the card."""

    query: Features
    gallery: Features
    protocol: Protocol
    card: dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """Which images to search on.

    Attributes:
        split: ``"val"``, ``"train"``, ``"test"``; None: val where there is one, else train.
        share: Share of the training identities, above 0, up to 1; None: ``SHARE``.
        seed: Of the identities and of the images that become queries.
        target: Name of a target; None: the first.
    """

    split: str | None
    share: float | None
    seed: int
    target: str | None


def images_of_run(run: str, choice: Choice, catalog: Catalog, device: str) -> Images:
    """Extract the features of a run's validation images.

    Raises:
        ReidError: The run has no weights, the target no such images, or they are too few.
    """
    params = EvalParams(run=run, device=device)
    targets, entries, weights, extraction = what_to_score(params, catalog)
    model = model_under_test(weights, params, extraction, catalog)
    name = choice.target or next(iter(targets.entries))
    if name not in targets.entries:
        raise ReidError(f"--target: no target '{name}' (targets: {', '.join(targets.entries)})")
    store = targets.store(name)
    split = choice.split or _validation_split(store, name)
    if choice.share is not None and split != "train":
        raise ReidError(f"--share: is of train, and split '{split}' is searched on; leave it out")
    protocol = _protocol(entries)
    if split == "test":
        query, gallery = (
            targets.features(model, name, part, protocol.outputs, protocol.columns)
            for part in ("query", "gallery")
        )
        chosen: dict[str, Any] = {"split": "test: query and gallery, as asked for by --split test"}
    else:
        query, gallery, chosen = _drawn(targets, model, name, split, choice, protocol)
    card = {"run": run, "target": name, **chosen, "data": targets.meta(name)}
    return Images(query, gallery, protocol, card)


def images_of_files(query: str, gallery: str) -> Images:
    """Load saved features; whoever gives them says what they are."""
    found = {
        split: load_features(user_path(path), split)
        for split, path in (("query", query), ("gallery", gallery))
    }
    common = [v for v in found["query"].values if v in found["gallery"].values]
    output = next((name for name in ("embedding", "feature") if name in common), None)
    if output is None:
        raise ReidError(f"--features: {query} and {gallery} have no 'embedding' in common")
    card = {"features": {"query": query, "gallery": gallery}}
    return Images(found["query"], found["gallery"], Protocol(output), card)


def trials(
    images: Images,
    pairs: list[tuple[int, int]],
    lambdas: list[float],
    power: int,
    device: str,
) -> Iterator[Trial]:
    """Yield the scores of every choice, without re-ranking first; complete the card.

    Raises:
        ReidError: The images are too few for a parameter, no query has a match, or names that
            the junk rule needs are missing.
    """
    distance, rule = images.protocol.distance.part, _junk_rule(images)
    images.card.update(
        output=images.protocol.output,
        distance=images.protocol.spelt,
        power=power,
        normalization="L2 per image" if distance.normalizes else "none",
        flip=images.query.meta.get("flip", "none"),
        ap="standard: mean of the precision at each match",
        junk_rule=data_of(rule),
        queries_without_match="valid: left out of every mean",
        ties=TIE_RULE,
        sizes={"query": len(images.query), "gallery": len(images.gallery)},
    )
    try:
        keyed = _keyed(images, device)
        yield from search(keyed, pairs, lambdas, distance=distance, power=power, junk_rule=rule)
    except ValueError as error:
        raise ReidError(f"tune-rerank: {error}") from error


# ---- images -----------------------------------------------------------------------------


def _validation_split(store: Store, name: str) -> str:
    statistics = store.index.statistics()
    for split in ("val", "train"):
        if split in statistics:
            return split
    raise ReidError(
        f"target '{name}' has neither a val nor a train split (splits: {', '.join(statistics)}); "
        "name another --target, or tune on the test set with --split test"
    )


def _drawn(
    targets: Targets,
    model: ModelUnderTest,
    name: str,
    split: str,
    choice: Choice,
    protocol: Protocol,
) -> tuple[Features, Features, dict[str, Any]]:
    """Return queries and gallery of some identities: a query for each of their cameras."""
    index = targets.store(name).index
    at = index.positions(split)
    if not len(at):
        raise ReidError(f"target '{name}' has no images in split '{split}'; see --split")
    at = at[~(index.junk[at] | index.distractor[at])]
    rng = np.random.default_rng(choice.seed)
    people = np.unique(index.pid[at])
    text = f"{split}: all {len(people)} identities"
    if split == "train":
        share = SHARE if choice.share is None else choice.share
        count = min(len(people), max(2, round(share * len(people))))
        people = rng.choice(people, size=count, replace=False)
        text = (
            f"train: {count} of the training identities (share {share:g}); the network "
            "knows these people, so expect a smaller gain on others"
        )
        at = at[np.isin(index.pid[at], people)]
    found = targets.features(model, name, split, protocol.outputs, protocol.columns, at)
    is_query = queries_among(found.pids, found.camids, rng)
    if is_query.all() or not is_query.any():
        raise ReidError(f"target '{name}', split '{split}': too few images of each identity")
    queries = "one query for each camera of an identity, all other images are the gallery"
    return (
        found.rows(np.flatnonzero(is_query)),
        found.rows(np.flatnonzero(~is_query)),
        {"split": text, "queries": queries, "seed": choice.seed},
    )


def queries_among(pids: np.ndarray, camids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose one image of every identity and camera, if the identity has others.

    Args:
        pids: ``(N,)`` strings.
        camids: ``(N,)`` integers; unknown ones count as one camera.
        rng: Chooses.

    Returns:
        ``(N,)`` bool.
    """
    order = rng.permutation(len(pids))
    keys = np.char.add(
        np.char.add(pids[order].astype(np.str_), "\n"), camids[order].astype(np.str_)
    )
    _, first = np.unique(keys, return_index=True)
    chosen = np.zeros(len(pids), dtype=np.bool_)
    chosen[order[first]] = True
    _, identity = np.unique(pids, return_inverse=True)
    left = np.bincount(identity[~chosen], minlength=identity.max() + 1)
    return chosen & (left[identity] > 0)


def _protocol(entries: list[EvaluationEntry]) -> Protocol:
    """Return how the first evaluation of a ranking compares and scores."""
    entry = next((e for e in entries if "output" in type(e.params).model_fields), None)
    built = build_evaluator(entry) if entry else None
    if entry is None or built is None or built.distance is None:
        return Protocol()
    given = entry.params.model_dump()
    named = JUNK_RULES.get(str(given.get("protocol")), "cross_camera")
    rule = rule_of(given.get("junk_rule") or named)
    found = Protocol(str(given["output"]), built.outputs, built.columns, built.distance, rule)
    if not found.distance.part.symmetric:  # said before any image is looked at
        raise ReidError(
            "tune-rerank: k-reciprocal re-ranking needs a symmetric distance, and "
            f"{entry.bare_name} of this run has {found.spelt}"
        )
    return found


def _junk_rule(images: Images) -> JunkRule:
    """Return the rule of the protocol, or one that does without cameras if there are none."""
    query, gallery = images.query, images.gallery
    unknown = bool((np.concatenate([query.camids, gallery.camids]) < 0).all())
    by_camera = images.protocol.junk_rule == "cross_camera"
    rule = "exclude_self" if unknown and by_camera else images.protocol.junk_rule
    made_up = query.names_are_made_up or gallery.names_are_made_up
    if rule == "exclude_self" and made_up and not np.array_equal(query.names, gallery.names):
        raise ReidError(
            "tune-rerank: the features have neither cameras nor names, so that a query's own "
            "image cannot be told from a match: add 'camids', or 'names', the same name for an "
            "image in both files"
        )
    return rule


def _keyed(images: Images, device: str) -> Keyed:
    protocol = images.protocol
    own = columns_of(protocol.junk_rule)
    query, gallery = (
        image_set(part, protocol.output, protocol.distance, columns=own)
        for part in (images.query, images.gallery)
    )
    where = choose_device(device, key="--device")
    return compare(query, gallery, distance=protocol.distance.part, device=where)
