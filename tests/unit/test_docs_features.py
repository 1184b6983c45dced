"""The description of features files is true: its examples run, its table names every array."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from reid_core import ReidError
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.features.feature_files import load_features
from reid_core.params.schema import ExtractionParams
from reid_core.params.validation import check_eval_params

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "features.md").read_text(encoding="utf-8")
NPZ, SAFETENSORS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SCORING, MATLAB, AVERAGING = map(json.loads, re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Where the examples have written their files; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for example in (NPZ, SAFETENSORS):
        exec(compile(example, "features.md", "exec"), names)
    return tmp_path


def test_what_the_first_example_writes_is_scored(written, catalog):
    (result,) = run_evaluation(check_eval_params(SCORING, catalog, "features.md"), catalog)
    assert result.scores.primary == "mAP"


def test_both_examples_write_the_same_gallery(written):
    npz = load_features(Path("gallery.npz"), "gallery")
    tensors = load_features(Path("gallery.safetensors"), "gallery")
    np.testing.assert_array_equal(npz.values["embedding"], tensors.values["embedding"])
    for name in ("pids", "camids", "junk", "distractor"):
        np.testing.assert_array_equal(getattr(npz, name), getattr(tensors, name))
    assert npz.distractor.tolist() == [False, False, True]
    assert (tensors.meta, tensors.names_are_made_up) == ({"model": "ours"}, True)


def test_the_matlab_example_is_scored(tmp_path, monkeypatch, catalog):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    splits = {"query": ([2, 15], [1, 6]), "gallery": ([-1, 0, 15, 2], [1, 2, 3, 4])}
    content = {}
    for split, (labels, cameras) in splits.items():
        vectors = random.normal(size=(len(labels), 8)).astype(np.float32)
        content |= {f"{split}_f": vectors, f"{split}_label": labels, f"{split}_cam": cameras}
    scipy.io.savemat("pytorch_result.mat", content)
    (result,) = run_evaluation(check_eval_params(MATLAB, catalog, "features.md"), catalog)
    assert result.scores.metrics["mAP"] > 0


def test_the_table_names_exactly_the_arrays_that_are_read(tmp_path):
    path = tmp_path / "query.npz"
    np.savez(path, unknown=np.ones(1))
    with pytest.raises(ReidError) as caught:
        load_features(path, "query")
    known = re.search(r"\(known: (.*)\)", str(caught.value))[1].split(", ")
    table = TEXT.partition("## Write them")[0]
    assert sorted(re.findall(r"^\| `([^`]*)` \|", table, re.MULTILINE)) == sorted(known)


def test_the_example_of_averaging_is_valid():
    params = ExtractionParams.model_validate(AVERAGING["extraction"])
    assert params == ExtractionParams(flip=True, scales=(1.0, 1.1))
