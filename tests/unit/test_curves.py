import json
import math

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageColor

from reid_core.errors import ReidError
from reid_plugins.toolkit.pictures import curves
from reid_plugins.toolkit.pictures.curves import draw_curves
from reid_plugins.toolkit.pictures.panels import PALETTE, Line, _spread, render_panels


def train(step, rates=None, **losses):
    epoch = step / 32
    line = {"kind": "train", "step": step, "epoch": epoch, "losses": losses}
    line |= {"total": sum(losses.values()), "monitors": {"accuracy": 0.5}}
    return line | {"rates": rates or {}}


def evaluation(epoch, target="synthetic", name="market_evaluate", primary="mAP", **metrics):
    metrics = metrics or {"mAP": 1 - 1 / epoch, "rank1": 1 - 0.5 / epoch, "mINP": 0.1}
    line = {"kind": "evaluation", "step": epoch * 32, "epoch": epoch, "evaluation": name}
    return line | {"target": target, "primary": primary, "metrics": metrics}


def baseline(name, target="synthetic", **metrics):
    line = {"kind": "baseline", "step": 0, "name": name, "evaluation": "market_evaluate"}
    return line | {"target": target, "metrics": metrics or {"mAP": 0.2, "rank1": 0.3}}


def a_run():
    rates = [{"backbone": 3.5e-4 * f, "new": 3.5e-4 * f} for f in np.geomspace(1, 1e-3, 64)]
    lines = [
        train(10 * i, rates[i], softmax=5 * math.exp(-i / 9), triplet=math.exp(-i / 9))
        for i in range(64)
    ]
    return [baseline("colour histogram"), *lines, *(evaluation(e) for e in (5, 10, 20))]


@pytest.fixture
def draw(tmp_path):
    def draw_lines(lines):
        file = tmp_path / "metrics.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        picture = tmp_path / "pictures" / "curves.png"
        draw_curves(file, picture)
        assert [path.name for path in picture.parent.iterdir()] == ["curves.png"]
        return picture

    return draw_lines


@pytest.fixture
def panels(draw, monkeypatch):
    """Return what is drawn, as lines by name for each panel."""
    seen = []

    def spy(panels):
        seen.append({key: {line.name: line for line in lines} for key, lines in panels.items()})
        return render_panels(panels)

    monkeypatch.setattr(curves, "render_panels", spy)
    return lambda lines: (draw(lines), seen[-1])[1]


def pixels_of(picture, colour, top=0.0, bottom=1.0):
    values = np.asarray(Image.open(picture).convert("RGB"))
    values = values[int(top * len(values)) : int(bottom * len(values)), : values.shape[1] // 2]
    return int((values == ImageColor.getrgb(colour)).all(axis=2).sum())


def test_picture_of_a_run(draw):
    picture = draw(a_run())
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.width == 1400
        assert 900 < image.height < 1300
    for colour in ("#222222", *PALETTE[:2]):
        assert pixels_of(picture, colour, 0, 0.3) > 100
    assert pixels_of(picture, PALETTE[0], 0.35, 0.6) > 100
    assert pixels_of(picture, PALETTE[1], 0.35, 0.6) == 0
    for colour in PALETTE[:2]:
        assert pixels_of(picture, colour, 0.65, 0.95) > 100


def test_bytes_repeat(draw):
    first = draw(a_run()).read_bytes()
    assert draw(a_run()).read_bytes() == first
    assert draw(a_run()[:-1]).read_bytes() != first


def test_names_and_numbers(panels):
    drawn = panels(a_run())
    assert list(drawn["loss"]) == ["total", "softmax", "triplet"]
    assert drawn["loss"]["softmax"].x[1] == 10 / 32
    assert list(drawn["learning rate"]) == ["backbone = new"]
    assert list(drawn["score"])[:2] == ["mAP", "rank1"]
    assert drawn["score"]["mAP"].y == [0.8, 0.9, 0.95]


def test_the_curve_of_a_loss_is_its_running_mean(panels):
    values = np.random.default_rng(0).random(101)
    values[[50, 100]] = math.nan, math.inf
    drawn = panels([train(i, a=value) for i, value in enumerate(values)])["loss"]["a"]
    assert drawn.raw == pytest.approx(list(values), nan_ok=True)
    for i, mean in enumerate(drawn.y):
        around = values[max(0, i - 2) : i + 3]
        expected = around[np.isfinite(around)].mean() if np.isfinite(values[i]) else values[i]
        assert mean == pytest.approx(expected, nan_ok=True)


def test_two_values_have_no_mean_and_rates_and_scores_never(panels):
    assert panels([train(i, a=1.0 * i) for i in range(2)])["loss"]["a"].raw == []
    assert panels([train(i, a=1.0 * i) for i in range(3)])["loss"]["a"].raw == [0.0, 1.0, 2.0]
    others = panels(a_run())
    assert not [
        line for name in ("learning rate", "score") for line in others[name].values() if line.raw
    ]


def test_one_epoch_is_a_point_that_can_be_seen(draw):
    picture = draw([train(32, {"new": 1e-3}, a=1.0, b=2.0), evaluation(1, mAP=0.5)])
    with Image.open(picture) as image:
        values = np.asarray(image.convert("RGB"))
    blue = (values == ImageColor.getrgb(PALETTE[0])).all(axis=2)
    spots = sliding_window_view(blue, (4, 4)).all(axis=(2, 3))  # letters and lines are thinner
    for top, bottom in ((0, 0.3), (0.31, 0.6), (0.65, 0.95)):
        assert spots[int(top * len(spots)) : int(bottom * len(spots))].any()


def test_baseline_has_the_colour_of_its_metric_and_its_own_dashes(panels):
    score = panels([baseline("untrained network"), *a_run()])["score"]
    for metric in ("mAP", "rank1"):
        level = score[f"colour histogram {metric}"]
        assert (level.x, level.colour) == ([], score[metric].colour)
        assert {level.dashes, score[f"untrained network {metric}"].dashes} == {"--", ":"}


def test_different_rates_are_drawn_apart(panels):
    lines = [train(i, {"backbone": 1e-4, "new": 1e-3, "loss": 1e-4}, a=1.0) for i in range(3)]
    rates = panels(lines)["learning rate"]
    assert list(rates) == ["backbone = loss", "new"]
    assert len({line.colour for line in rates.values()}) == 2


def test_one_loss_that_is_the_total_is_drawn_once(panels):
    assert list(panels([train(0, softmax=2.0)])["loss"]) == ["softmax"]


def test_several_evaluations_are_told_apart(panels):
    lines = [
        evaluation(5),
        evaluation(5, target="omniglot"),
        evaluation(5, name="classification_evaluate", primary="accuracy", accuracy=0.5, top5=0.9),
        evaluation(5, name="other_evaluate"),
        baseline("colour histogram", target="omniglot", mAP=0.1),
    ]
    assert list(panels(lines)["score"]) == [
        "synthetic market_evaluate mAP",
        "synthetic market_evaluate rank1",
        "omniglot mAP",
        "omniglot rank1",
        "synthetic accuracy",
        "synthetic other_evaluate mAP",
        "synthetic other_evaluate rank1",
        "colour histogram omniglot mAP",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [train(0, {"new": 1e-3}, a=1.0)],
        [train(i, a=1.0) for i in range(5)],
        [evaluation(1)],
        [baseline("untrained network")],
        [baseline("untrained network", map_of_another_kind=1.0)],
        [train(i, {"new": 0.0}, a=0.0) for i in range(3)],
        [train(i, {"new": 1e-3 * (i < 2)}, a=float("nan")) for i in range(3)],
        [train(i, {"new": 10.0**-i}, a=float("inf") if i else 1.0) for i in range(3)],
        [train(i, **{f"loss_{'x' * 60}_{k}": -k * 1e6 for k in range(30)}) for i in range(3)],
        [train(i, {"$new_": 1.0}, _a=math.sin(i)) for i in range(400)],
        [{"kind": "of a later version", "step": 1}],
        [evaluation(1, primary="error", error=37.5)],
    ],
)
def test_corner_cases_give_a_picture(draw, lines):
    with Image.open(draw(lines)) as image:
        assert image.width == 1400


def test_half_a_line_at_the_end_is_left_out(draw, tmp_path):
    draw(a_run())
    file = tmp_path / "metrics.jsonl"
    whole = (tmp_path / "pictures" / "curves.png").read_bytes()
    file.write_text(file.read_text() + '{"kind": "train", "st')
    draw_curves(file, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == whole


@pytest.mark.parametrize("bad", ["{", "[]", ""])
def test_bad_line_in_the_middle_is_an_error(tmp_path, bad):
    file = tmp_path / "metrics.jsonl"
    line = json.dumps(train(1, a=1.0))
    file.write_text(f"{line}\n{bad}\n{line}\n")
    with pytest.raises(ReidError, match="line 2"):
        draw_curves(file, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("seed", range(5))
def test_labels_do_not_overlap_and_stay_inside(seed):
    places = np.sort(np.random.default_rng(seed).random(8) ** 3)
    spread = _spread(places, 0.1)
    assert np.diff(spread).min() >= 0.1 - 1e-9
    assert spread[0] >= 0
    assert spread[-1] <= 1 + 1e-9


def test_labels_with_room_stay_where_they_are():
    assert _spread(np.array([0.1, 0.5, 0.9]), 0.1) == pytest.approx([0.1, 0.5, 0.9])


def test_rendering_leaves_pyplot_alone():
    import sys

    had_pyplot = "matplotlib.pyplot" in sys.modules
    assert render_panels({"loss": [Line("a", [0.0, 1.0], [1.0, 2.0])]})
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot
