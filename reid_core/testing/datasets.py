"""Datasets: listings that can be packed, the same each time, with readable images."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from reid_core.contracts import SPLITS, ImageRecord, Listing
from reid_core.storage.fingerprints import fingerprint
from reid_core.storage.listing_checks import check_listing
from reid_core.storage.packed_content import read_record
from reid_core.testing.subject import Subject, expect

DECODED = 50
"""Images that are decoded, so that a large dataset is checked in time."""


def _listing(subject: Subject) -> Listing:
    listing: Listing = subject.build()
    if not isinstance(listing, Listing):
        what = f"returned a {type(listing).__name__}; expected a Listing"
        raise subject.offer.origin.fault(f"{what}, whose 'records' are a list of ImageRecord")
    right = all(isinstance(record, ImageRecord) for record in listing.records)
    expect(right, "a record is no ImageRecord")
    return listing


def the_packer_accepts_it(subject: Subject) -> None:
    """Splits, identities, cameras, columns, extras and places of files; no image is read."""
    check_listing(_listing(subject))


def names_are_relative_paths_with_forward_slashes(subject: Subject) -> None:
    """The same on every system."""
    for name in (record.name for record in _listing(subject).records):
        path = PurePosixPath(name)
        right = not path.is_absolute() and ".." not in path.parts and "\\" not in name
        expect(right and path.as_posix() == name, f"{name!r}")


def what_else_it_says_is_of_the_known_forms(subject: Subject) -> None:
    """Flags, the root of files, and the published numbers."""
    listing = _listing(subject)
    both = [record.name for record in listing.records if record.junk and record.distractor]
    expect(not both, f"junk and distractor: {both[:3]}")
    files = [record.source for record in listing.records if isinstance(record.source, Path)]
    expect(bool(files) == (listing.root is not None), f"{len(files)} files, root {listing.root}")
    expect(set(listing.published) <= set(SPLITS), f"published: {sorted(listing.published)}")


def images_can_be_decoded_and_are_the_same_when_they_are_read_again(subject: Subject) -> None:
    """The first ones of the listing, with what is packed beside them."""
    listing, origin = _listing(subject), subject.offer.origin
    for record in listing.records[:DECODED]:
        content, problems = read_record(record, listing, origin)
        expect(not problems, "; ".join(problems))
        same = read_record(record, listing, origin)[0] == content
        expect(same, f"{record.name}: other bytes when it is read again")


def listing_again_gives_the_same(subject: Subject) -> None:
    """The store is named after it."""
    dump = subject.params.model_dump(mode="json")
    first, again = (fingerprint(subject.component.name, dump, _listing(subject)) for _ in range(2))
    expect(first == again, "the records differ when they are listed again; sort them")


CHECKS = (
    the_packer_accepts_it,
    names_are_relative_paths_with_forward_slashes,
    what_else_it_says_is_of_the_known_forms,
    images_can_be_decoded_and_are_the_same_when_they_are_read_again,
    listing_again_gives_the_same,
)
