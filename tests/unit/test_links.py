"""Links lead out of a dataset's folder when that is asked for, and only its owner's."""

import os

import pytest

from reid_core import ReidError
from reid_core.params.validation import check_dataset_entry
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.links import LinkRule
from stores import png

STRANGER = os.getuid() + 4321


@pytest.fixture
def disk(tmp_path):
    """A data folder, and another disk with an image."""
    for folder in ("data/inside", "disk/images"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("data/inside/a.png", "disk/images/b.png"):
        (tmp_path / file).write_bytes(png(1))
    return tmp_path


@pytest.fixture
def made_by(monkeypatch):
    """A function: let somebody else have made these links."""
    links: dict[str, int] = {}
    real = os.lstat

    def lstat(path, **options):
        state = real(path, **options)
        owner = links.get(os.fspath(path), state.st_uid)
        return os.stat_result((*state[:4], owner, *state[5:]))

    monkeypatch.setattr("reid_core.storage.links.os.lstat", lstat)

    def make(link, owner=STRANGER):
        links[str(link)] = owner

    return make


def rule(disk, *, follow_links=True):
    return LinkRule(disk / "data", follow_links=follow_links)


def linked(link, target):
    link.symlink_to(target)
    return link


@pytest.mark.parametrize("follow_links", [False, True])
def test_what_lies_in_the_folder_may_be_read(disk, made_by, follow_links):
    made_by(linked(disk / "data/alias", disk / "data/inside"))
    made_by(linked(disk / "data/c.png", "inside/../inside/a.png"))
    found = rule(disk, follow_links=follow_links)
    for name in ("inside/a.png", "alias/a.png", "c.png"):
        assert found.problem(disk / "data" / name) == ""


@pytest.mark.parametrize(
    ("link", "target", "file"),
    [
        ("folder", "images", "folder/b.png"),
        ("b.png", "images/b.png", "b.png"),
        ("inside/up", "../../disk/images", "inside/up/b.png"),
    ],
)
def test_a_link_leads_out_only_when_asked(disk, link, target, file):
    at = disk / "data" / link
    at.symlink_to(target if target.startswith("..") else disk / "disk" / target)
    problem = rule(disk, follow_links=False).problem(disk / "data" / file)
    assert problem.startswith(f"lies outside the data folder {disk / 'data'}, at {disk / 'disk'}")
    assert '"follow_links": true' in problem
    assert rule(disk).problem(disk / "data" / file) == ""


def test_links_of_others_are_refused_by_name(disk, made_by):
    made_by(linked(disk / "data/theirs", disk / "disk/images"))
    problem = rule(disk).problem(disk / "data/theirs/b.png")
    assert f"the link {disk / 'data/theirs'} was made by user {STRANGER}, and only those" in problem
    assert f"the folder's owner ({os.getuid()})" in problem


def test_a_link_of_others_that_the_owners_link_leads_to_is_refused(disk, made_by):
    linked(disk / "data/own", disk / "disk/images")
    made_by(linked(disk / "disk/images/c.png", disk / "disk/images/b.png"))
    assert "disk/images/c.png was made by" in rule(disk).problem(disk / "data/own/c.png")
    assert rule(disk).problem(disk / "data/own/b.png") == ""


def test_the_systems_links_are_followed_outside_and_not_inside(disk, made_by, monkeypatch):
    monkeypatch.setattr("reid_core.storage.links.SYSTEM", STRANGER)
    linked(disk / "mount", disk / "disk")
    made_by(disk / "mount")
    linked(disk / "data/own", disk / "mount/images")
    assert rule(disk).problem(disk / "data/own/b.png") == ""
    made_by(linked(disk / "data/systems", disk / "disk/images"))
    assert "data/systems was made by" in rule(disk).problem(disk / "data/systems/b.png")


def test_the_folder_may_be_a_link_whose_maker_counts_as_its_owner(disk, made_by):
    root = linked(disk / "root", disk / "data")
    made_by(linked(disk / "data/out", disk / "disk/images"))
    made_by(root)
    assert LinkRule(root, follow_links=True).problem(root / "out/b.png") == ""
    assert LinkRule(root, follow_links=False).problem(root / "inside/a.png") == ""


def test_a_file_named_outside_is_refused_even_if_links_are_followed(disk):
    assert rule(disk).problem(disk / "disk/images/b.png").startswith("lies outside")
    assert rule(disk).problem(disk / "data/../disk/images/b.png").startswith("lies outside")


def test_links_in_a_circle_and_into_nothing_are_left_to_the_reader(disk):
    linked(disk / "data/circle", disk / "data/circle")
    linked(disk / "data/gone", disk / "nowhere")
    for name in ("circle", "gone", "circle/a.png"):
        assert rule(disk).problem(disk / "data" / name) == ""


@pytest.mark.parametrize("followed", [True, False])
def test_a_dataset_made_of_links_is_packed_when_asked(disk, catalog, followed, tmp_path):
    for split in ("train", "query", "gallery"):
        folder = disk / "disk" / split / "anna"
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(png(2))
        (disk / "data" / split).symlink_to(disk / "disk" / split)
    (disk / "data/inside/a.png").unlink()
    (disk / "data/inside").rmdir()
    raw = {"name": "image_folder", "params": {"root": str(disk / "data")}}
    entry = check_dataset_entry({**raw, "follow_links": followed}, catalog, "x")
    stores = Stores(tmp_path / "runs")
    if followed:
        assert len(stores.open(entry)) == 3
    else:
        with pytest.raises(ReidError, match=r'3 images cannot be used:\n.*"follow_links": true'):
            stores.open(entry)
