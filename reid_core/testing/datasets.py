"""Datasets: listings that can be packed, with unique names, known splits and readable images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from reid_core.contracts import SPLITS, ImageRecord, Listing
from reid_core.data.decoding import UNREADABLE, decode
from reid_core.data.packing import check_listing, fingerprint
from reid_core.testing.subject import Subject, expect

DECODED = 50
"""Images that are decoded, so that a large dataset is checked in time."""


def _listing(subject: Subject) -> Listing:
    listing: Listing = subject.build()
    return listing


def it_lists_images_with_names_that_are_unique_in_their_split(subject: Subject) -> None:
    """An image is found by them."""
    listing = _listing(subject)
    expect(isinstance(listing, Listing), f"it returns a {type(listing).__name__}")
    expect(listing.records, "it lists no image")
    right = all(isinstance(record, ImageRecord) for record in listing.records)
    expect(right, "a record is no ImageRecord")
    names = Counter((record.split, record.name) for record in listing.records)
    twice = [name for name, count in names.items() if count > 1]
    expect(not twice, f"listed twice: {twice[:3]}")


def names_are_relative_paths_with_forward_slashes(subject: Subject) -> None:
    """The same on every system."""
    for name in (record.name for record in _listing(subject).records):
        path = PurePosixPath(name)
        right = not path.is_absolute() and ".." not in path.parts and "\\" not in name
        expect(right and path.as_posix() == name, f"{name!r}")


def splits_identities_and_cameras_are_of_the_known_forms(subject: Subject) -> None:
    """The store has them as such."""
    listing = _listing(subject)
    for record in listing.records:
        expect(record.split in SPLITS, f"{record.name}: split {record.split!r}")
        right = record.pid is None or (isinstance(record.pid, str) and record.pid != "")
        expect(right, f"{record.name}: pid {record.pid!r}; use a string, or None")
        right = type(record.camid) is int and record.camid >= -1
        expect(right, f"{record.name}: camid {record.camid!r}; use -1 for an unknown camera")
        expect(not (record.junk and record.distractor), f"{record.name}: junk and distractor")
    expect(set(listing.published) <= set(SPLITS), f"published: {sorted(listing.published)}")


def files_lie_in_the_root(subject: Subject) -> None:
    """A listing of files has one."""
    listing = _listing(subject)
    files = [record.source for record in listing.records if isinstance(record.source, Path)]
    expect(bool(files) == (listing.root is not None), f"{len(files)} files, root {listing.root}")
    outside = [f for f in files if listing.root and not f.is_relative_to(listing.root)]
    expect(not outside, f"outside: {outside[:3]}")


def images_can_be_decoded_and_are_the_same_when_they_are_read_again(subject: Subject) -> None:
    """The first ones of the listing."""
    for record in _listing(subject).records[:DECODED]:
        read = record.source.read_bytes if isinstance(record.source, Path) else record.source
        data = read()
        expect(read() == data, f"{record.name}: other bytes when it is read again")
        try:
            decode(data)
        except UNREADABLE as error:
            raise AssertionError(f"{record.name}: {error}") from None


def listing_again_gives_the_same(subject: Subject) -> None:
    """The store is named after it."""
    dump = subject.params.model_dump(mode="json")
    first, again = (fingerprint(subject.component.name, dump, _listing(subject)) for _ in range(2))
    expect(first == again, "the records differ when they are listed again; sort them")


def the_packer_accepts_it(subject: Subject) -> None:
    """As far as it looks before it reads images."""
    check_listing(_listing(subject))


CHECKS = (
    it_lists_images_with_names_that_are_unique_in_their_split,
    names_are_relative_paths_with_forward_slashes,
    splits_identities_and_cameras_are_of_the_known_forms,
    files_lie_in_the_root,
    images_can_be_decoded_and_are_the_same_when_they_are_read_again,
    listing_again_gives_the_same,
    the_packer_accepts_it,
)
