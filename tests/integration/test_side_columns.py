"""A network that looks at cameras as a teacher: of one that does as well, and of one that does not.

The backbone adds a vector of the camera to every cell of its map.
"""

import pytest
import torch
from torch import nn

from reid_core import BackboneComponent, hookimpl
from reid_core.contracts import FeatureMap
from reid_core.network.weights import read_weights
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train


class Looks(nn.Module):
    out_channels, stride = 8, 16

    def __init__(self, cameras):
        super().__init__()
        self.conv, self.cameras = nn.Conv2d(3, 8, 16, stride=16), nn.Embedding(cameras + 1, 8)

    def forward(self, images, side):
        rows = torch.where(side["camid"] < 0, self.cameras.num_embeddings - 1, side["camid"])
        return FeatureMap(self.conv(images) + self.cameras(rows)[..., None, None])


class LooksPlugin:
    @hookimpl
    def reid_backbone(self):
        def build(params, *, side_values):
            return Looks(side_values["camid"])

        return [BackboneComponent(name="looks", build=build, summary="-", side=("camid",))]


@pytest.fixture
def train(catalog_with, tiny_params):
    """A function that trains for an epoch; the teacher's name in the run is its sub-directory."""
    catalog = catalog_with(LooksPlugin())
    (people,) = tiny_params["data"]["train"]

    def run(name, backbone, cameras=2, teacher=None):
        params = {**people["params"], "cameras": cameras}
        raw = {
            **tiny_params,
            "data": {"train": [{**people, "params": params}]},
            "backbone": {"name": backbone},
            "train": {**tiny_params["train"], "epochs": 1},
        }
        if teacher:
            terms = {"similarities": {"weight": 1.0}}
            taught = {"name": "distillation", "params": {"teacher": str(teacher), "terms": terms}}
            raw["objective"] = [{"name": "supervised"}, taught]
        return start_train(check_run_params(raw, catalog, "test"), catalog, name)

    return run


def test_a_teacher_is_told_what_it_knows_and_it_is_said_what_not(train, capsys):
    teacher = train("teacher", "looks")
    kept = read_weights(teacher.last_weights).metadata["side"]
    assert kept == {"camid": [["synthetic_market", 1], ["synthetic_market", 2]]}
    capsys.readouterr()

    train("alike", "looks", cameras=3, teacher=teacher.path)
    assert (
        "teacher: it looks at 'camid' and knows 2 of the 3 values of this training; others are "
        "unknown to it" in capsys.readouterr().out.splitlines()
    )
    train("plain", "tiny", teacher=teacher.path)
    assert (
        "teacher: it looks at 'camid' and takes it as unknown: the student does not look at it"
        in capsys.readouterr().out.splitlines()
    )
