"""Upper bounds of params: far above what anybody needs, below what ends a machine.

A value that is checked can be built: what a slip of the finger asks for (a height of 100,000, a
million loader processes) is refused with the params, not by the allocator in the middle of a run.
What several values need together depends on data and machine, and shows when it is tried.
"""

from __future__ import annotations

LARGEST_SIDE = 4096
"""Pixels of a side: one image as float32 is 200 MB."""

LARGEST_DIM = 16_384
"""Size of a vector: a layer to it from 2,048 channels is 134 MB, four times that with Adam."""

LARGEST_PART_DIM = 4096
"""Size of the vector of each of several parts, which have a layer each."""

MOST_PARTS = 64
"""Stripes of an image, which has 16 to 24 rows of features by default."""

LARGEST_BATCH = 16_384
"""Images of a batch: at 256 x 128 pixels 6 GB as float32, before any layer."""

MOST_VIEWS = 64
"""Further batches of one stream in a step."""

MOST_WORKERS = 1024
"""Loader processes; a loader starts one per core at most."""

MOST_NEIGHBOURS = 2000
"""Nearest images that a step of post-processing looks at; each has 12 bytes for every image."""

MOST_ROUNDS = 1000
"""Times that a step of post-processing is repeated; memory does not grow with them, time does."""

MOST_CLUSTERS = 1024
"""Clusters of a batch that a loss makes."""

MOST_DRAWS = 100_000
"""Draws of a bootstrap or of galleries; each keeps a number for every metric or query."""

MOST_DRAWN_IMAGES = 10_000
"""Images of one drawn person and camera."""

MOST_DRAWN_PERSONS = 100_000
"""Drawn persons, and images without one."""

LARGEST_COUNT = 1_000_000_000
"""Steps, epochs or ranks that are counted and not kept: far beyond any training."""

LARGEST_SEED = 2**63 - 1
"""What generators of torch and numpy take."""

MOST_DRAWN = 2_000_000
"""Drawn images in all: their list alone takes about 1 GB."""

LARGEST_FACTOR = 8
"""Factor on height and width of an image: 64 times its pixels."""

LONGEST_EPOCHS = 1_000_000
"""Epochs of a training."""
