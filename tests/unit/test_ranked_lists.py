import numpy as np
import pytest
from PIL import Image, ImageColor

from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG
from reid_plugins.toolkit.pictures import ranked_lists
from reid_plugins.toolkit.pictures.ranked_lists import choose_queries, draw_ranked_lists
from reid_plugins.toolkit.pictures.sheet import COLOURS

PINK = (250, 60, 200)


def per_query(flags, ap=None, **changes):
    """Return per-query arrays for flags (Q, k); gallery image j is at position 100 + j."""
    flags = np.asarray(flags, dtype=np.int8)
    queries, k = flags.shape
    arrays = {
        "ap": np.linspace(0.1, 0.9, queries) if ap is None else np.asarray(ap),
        "first_rank": np.ones(queries, dtype=np.int64),
        "num_matches": np.full(queries, 3),
        "top_indices": np.tile(100 + np.arange(k), (queries, 1)),
        "top_flags": flags,
        "top_distances": np.tile(np.linspace(0.1, 1, k, dtype=np.float32), (queries, 1)),
        "name": np.array([f"{i}.png" for i in range(queries)]),
        "pid": np.array([f"{i:04d}" for i in range(queries)]),
        "camid": np.arange(queries) - 1,
    }
    return arrays | changes


class Album:
    """Reads one pink image for every index and remembers what was asked for."""

    def __init__(self, size=(64, 128), mode="RGB"):
        self.image = Image.new("RGB", size, PINK).convert(mode)
        self.asked = []

    def __call__(self, index):
        assert type(index) is int
        self.asked.append(index)
        return self.image


def draw(path, arrays, query=None, gallery=None, **options):
    draw_ranked_lists(arrays, query or Album(), gallery or Album(), path, **options)
    assert not list(path.parent.glob("*.tmp")) + list(path.parent.glob(".*"))
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def frames(picture, row=0, height=186, untitled_top=60):
    """Return the kind of the frame at each place of a row, by its left edge."""
    top = untitled_top + row * (height + ranked_lists._CAPTION + ranked_lists._BETWEEN_ROWS)
    kinds = {ImageColor.getrgb(colour): kind for kind, colour in COLOURS.items()}
    found = []
    for x in range(296, picture.shape[1] - 98, 109):
        found.append(kinds.get(tuple(picture[top, x].tolist())))
    return found


def test_frames_follow_the_flags(tmp_path):
    flags = [[MATCH, WRONG, JUNK, WRONG, MATCH], [WRONG, JUNK, JUNK, MATCH, WRONG]]
    picture = draw(tmp_path / "lists.png", per_query(flags))
    words = {MATCH: "match", WRONG: "wrong", JUNK: "junk"}
    for row, expected in enumerate(flags):
        assert frames(picture, row)[:5] == [words[flag] for flag in expected]


def test_junk_is_greyed_out(tmp_path):
    picture = draw(tmp_path / "lists.png", per_query([[MATCH, WRONG, JUNK]]))
    for place, is_grey in enumerate((False, False, True)):
        middle = picture[150, 296 + place * 109 + 49].tolist()
        assert (middle == list(PINK)) != is_grey
        assert (max(middle) == min(middle)) == is_grey


def test_shape_tells_right_from_wrong_without_colour(tmp_path):
    picture = draw(tmp_path / "lists.png", per_query([[MATCH, WRONG]]))
    white = picture.min(axis=2) > 127
    corner = [white[55:77, x + 81 : x + 103] for x in (296, 296 + 109)]
    assert (corner[0] != corner[1]).sum() > 30


def test_query_has_a_thin_dark_frame(tmp_path):
    picture = draw(tmp_path / "lists.png", per_query([[MATCH]]))
    dark = ImageColor.getrgb(COLOURS["query"])
    assert [tuple(picture[150, 170 + i].tolist()) == dark for i in range(3)] == [True, True, False]


def test_queries_are_spread_from_worst_to_best():
    ap = np.random.default_rng(0).permutation(101) / 100
    chosen = choose_queries(ap, 5)
    assert ap[chosen].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert ap[choose_queries(ap, 1)].tolist() == [0.5]


def test_fewer_queries_than_rows_are_each_drawn_once():
    assert choose_queries(np.array([0.5, 0.1, 0.5]), 8).tolist() == [1, 0, 2]
    assert choose_queries(np.zeros(0), 8).tolist() == []


def test_reads_only_what_it_draws(tmp_path):
    query, gallery = Album(), Album()
    arrays = per_query([[MATCH] * 50] * 9, ap=np.arange(9) / 10)
    picture = draw(tmp_path / "lists.png", arrays, query, gallery, rows=3)
    assert query.asked == [0, 4, 8]
    assert gallery.asked == [*range(100, 110)] * 3
    assert 1000 <= picture.shape[1] <= 1400


def test_queries_without_a_match_are_left_out(tmp_path):
    query = Album()
    arrays = per_query([[MATCH]] * 3, num_matches=np.array([0, 2, 0]))
    draw(tmp_path / "lists.png", arrays, query)
    assert query.asked == [1]


def test_absent_gallery_images_are_skipped(tmp_path):
    gallery = Album()
    arrays = per_query([[MATCH, WRONG, WRONG]], top_indices=np.array([[7, -1, -1]]))
    picture = draw(tmp_path / "lists.png", arrays, gallery=gallery)
    assert gallery.asked == [7]
    assert frames(picture)[:3] == ["match", None, None]


@pytest.mark.parametrize("queries", [0, 4])
def test_nothing_to_rank_gives_a_picture_that_says_so(tmp_path, queries):
    arrays = per_query(np.zeros((queries, 5)), num_matches=np.zeros(queries, dtype=np.int64))
    picture = draw(tmp_path / "lists.png", arrays, title="A run")
    assert (picture < 128).any()
    assert picture.shape[0] < 200


def test_words_of_the_second_line():
    words = ranked_lists._describe
    assert words(8, 432, 432) == "8 of 432 queries, spread evenly from the worst to the best AP"
    assert words(8, 430, 432).endswith("best AP (2 without a match left out)")
    assert words(1, 9, 9) == "1 of 9 queries, the one with the median AP"
    assert words(1, 1, 1) == "1 of 1 query"
    assert "none of them has a match" in words(0, 0, 5)
    assert "there is no query" in words(0, 0, 0)


@pytest.mark.parametrize("size", [(64, 128), (105, 105), (400, 100), (1, 900), (900, 1)])
@pytest.mark.parametrize("k", [0, 1, 10])
def test_any_proportions_and_any_k(tmp_path, size, k):
    flags = np.arange(2 * k).reshape(2, k) % 3
    other = Album((30, 40))
    picture = draw(tmp_path / "a" / "b" / "lists.png", per_query(flags), Album(size), other)
    assert 760 <= picture.shape[1] <= 1400
    assert len(other.asked) == 2 * k


@pytest.mark.parametrize("mode", ["1", "L", "RGBA", "P", "CMYK"])
def test_any_mode(tmp_path, mode):
    draw(tmp_path / "lists.png", per_query([[JUNK, MATCH]]), Album(mode=mode), Album(mode=mode))


def test_long_and_unusual_texts(tmp_path):
    arrays = per_query([[MATCH] * 3] * 2, pid=np.array(["x" * 300, "two\nlines é"]))
    arrays["top_distances"] = np.array([[0, 1e9, np.inf], [-1e-7, np.nan, 123456.7]])
    draw(tmp_path / "lists.png", arrays, title="A title\nthat is long " * 20)


def test_bytes_repeat(tmp_path):
    flags = np.random.default_rng(0).integers(0, 3, (20, 12))
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, per_query(flags), title="The same")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_failure_leaves_the_old_picture(tmp_path):
    path = tmp_path / "lists.png"
    path.write_bytes(b"old")

    def broken(index):
        raise ValueError("cannot be decoded")

    with pytest.raises(ValueError, match="cannot be decoded"):
        draw_ranked_lists(per_query([[MATCH]]), Album(), broken, path)
    assert path.read_bytes() == b"old"


def test_rows_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="rows must be 1 or larger, got 0"):
        draw_ranked_lists(per_query([[MATCH]]), Album(), Album(), tmp_path / "a.png", rows=0)


def test_codes_are_those_of_the_arrays_that_runs_have_saved():
    assert (WRONG, MATCH, JUNK) == (0, 1, 2)


def test_more_images_than_ten_stand_below(tmp_path):
    flags = [[MATCH, *[WRONG] * 9, JUNK, MATCH, WRONG]]
    picture = draw(tmp_path / "lists.png", per_query(flags), shown=13)
    assert frames(picture)[:10] == ["match", *["wrong"] * 9]
    below = picture[186 + ranked_lists._CAPTION :]
    assert frames(below)[:3] == ["junk", "match", "wrong"]
    assert picture.shape[1] == 1399
    assert not np.array_equal(picture, draw(tmp_path / "ten.png", per_query(flags)))


def test_the_lists_are_cut_where_asked(tmp_path):
    gallery = Album()
    draw(tmp_path / "lists.png", per_query([[MATCH, WRONG, JUNK, WRONG]]), gallery=gallery, shown=2)
    assert gallery.asked == [100, 101]


def test_the_queries_that_are_asked_for_are_drawn_in_their_order(tmp_path):
    query = Album()
    arrays = per_query([[MATCH, WRONG]] * 5, num_matches=np.array([1, 0, 1, 1, 1]))
    draw(tmp_path / "lists.png", arrays, query=query, queries=[3, 1])
    assert query.asked == [3, 1]


def test_no_image_of_a_list_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="shown must be 1 or larger, got 0"):
        draw(tmp_path / "lists.png", per_query([[MATCH]]), shown=0)
