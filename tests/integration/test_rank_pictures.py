"""``reid rank-pictures``: the queries and the ranks that one asks for."""

import json

import pytest

from reid_plugins.command import rank_pictures

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["query/a.jpg", "query/b.jpg", "more/b.jpg", "query/7.jpg"]


@pytest.mark.parametrize(
    ("word", "row"), [("query/a.jpg", 0), ("a.jpg", 0), ("more/b.jpg", 2), ("1", 1), ("7.jpg", 3)]
)
def test_a_query_is_named_by_its_image_or_its_number(word, row):
    assert rank_pictures._row(word, NAMES) == row


def test_the_command(answer, params_file, tiny_params, monkeypatch):
    words = ["--set", "train.epochs=1", "--set", "evaluation.0.params.top_k=3"]
    assert answer("train", params_file, "--sub_working_dir", "run", *words)[0] == 0
    run = f"{tiny_params['working_dir']}/run"
    picture = f"{run}/pictures/queries-market_evaluate-synthetic_market.png"
    assert answer("rank-pictures", run, "--ranks", "3", "--count", "2") == (
        0,
        f"picture: {picture}\n",
        "",
    )
    drawn = {}
    monkeypatch.setattr(
        "reid_plugins.command._pictures.draw_ranked_lists",
        lambda arrays, *_, **choices: drawn.update(choices, names=arrays["name"]),
    )
    assert answer("rank-pictures", run, "--ranks", "2", "--queries", "1", "0")[0] == 0
    assert (drawn["shown"], drawn["queries"]) == (2, [1, 0])
    wrong = {
        ("--ranks", "4"): "the scores keep the first 3 images of each list; keep more with: reid",
        ("--ranks", "0"): "--ranks: must be 1 or larger, got 0",
        ("--ranks", "2", "--queries", "999"): "no query 999; there are ",
        ("--ranks", "2", "--queries", "nobody"): "no query is called 'nobody'",
        ("--queries", "1", "--count", "1"): "give one of them",
        ("--ranks", "2", "--kind", "scores"): "no saved scores",
    }
    for options, problem in wrong.items():
        status, _, err = answer("rank-pictures", run, *options)
        assert (status, problem in err) == (2, True), err
    (store,) = (
        path for path in (params_file.parent / "runs" / "stores").glob("*-*") if path.is_dir()
    )
    store.rename(store.with_name("gone"))
    facts = json.loads((store.with_name("gone") / "manifest.json").read_text())
    (store.with_name("gone") / "manifest.json").write_text(
        json.dumps(facts | {"content_hash": "0" * 64})
    )
    status, _, err = answer("rank-pictures", run, "--ranks", "2")
    assert (status, "are not there any more" in err or "cannot be read" in err) == (2, True)
