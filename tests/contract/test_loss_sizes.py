"""No loss makes an array of pairs times values, or of triplets: memory stays quadratic."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from reid_core.contracts import BranchSpec, LossInput, Progress

SPEC = BranchSpec("global", 32, "global", frozenset({"id", "metric"}))
B, DIM, PIDS = 48, 32, 96
LARGEST = PIDS * PIDS
"""Numbers of the largest array that may be made; B x B x DIM would be eight times as many."""


class Sizes(TorchDispatchMode):
    """Keeps the size of the largest array in memory that any operation made."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor):
                numbers = made.untyped_storage().nbytes() // made.element_size()
                self.largest = max(self.largest, numbers)
        return result


def test_the_size_of_an_array_of_pairs_times_values_is_seen():
    x = torch.randn(B, DIM)
    with Sizes() as seen:
        (x[:, None] - x[None, :]).square().sum(dim=2)
    assert seen.largest == B * B * DIM > LARGEST


VARIANTS = {
    "triplet": [{"mining": "weighted"}, {"distance": "cosine"}],
    "ranked_list": [{"clusters": 4}],
    "circle": [{"reduce": "batch"}],
    "instance": [{"level": "identity"}],
    "uncertain_pair": [{"distance": "arc"}, {"distance": "chord_of_arc"}],
    "uncertain_softmax": [{"metric": "arc"}],
}
"""Params beside the defaults that take another way through a loss."""


def test_no_array_is_larger_than_pairs_of_images_or_images_by_identities(loss):
    generator = torch.Generator().manual_seed(0)
    pids = torch.arange(B // 4).repeat_interleave(4)
    for given in ({}, *VARIANTS.get(loss.name, [])):
        built = loss.build(loss.params(**given), dim=DIM, num_pids=PIDS, branch=SPEC)
        features = torch.randn(B, DIM, generator=generator).requires_grad_()
        weight = torch.randn(PIDS, DIM, generator=generator).requires_grad_()
        x = LossInput(
            features=features,
            pids=pids,
            camids=pids,
            progress=Progress(epoch=0, epochs=2, step=3, steps_per_epoch=10),
            weight=weight,
            logits=features @ weight.T,
            aux={"uc": torch.randn(B, generator=generator).requires_grad_()},
        )
        with Sizes() as seen:
            built(x).value.backward()
        assert 0 < seen.largest <= LARGEST, given
