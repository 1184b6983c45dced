"""No loss makes an array of pairs times values, or of triplets: memory stays quadratic."""

import torch

from reid_core.contracts import BranchSpec, LossInput, Progress

SPEC = BranchSpec("global", 32, "global", frozenset({"id", "metric"}))
B, DIM, PIDS = 48, 32, 96
LARGEST = PIDS * PIDS
"""Numbers of the largest array that may be made; B x B x DIM would be eight times as many."""


def test_what_is_large_and_what_makes_a_host_wait_is_seen(operations):
    x = torch.randn(B, DIM)
    with operations() as seen:
        (x[:, None] - x[None, :]).square().sum(dim=2)
    assert seen.largest == B * B * DIM > LARGEST
    assert seen.waiting == []
    with operations() as seen:
        x[x > 0].sum().item()
        x[torch.tensor([1, 2])]
    assert seen.waiting == ["index", "_local_scalar_dense"]


VARIANTS = {
    "triplet": [{"mining": "weighted"}, {"distance": "cosine"}],
    "ranked_list": [{"clusters": 4}],
    "circle": [{"reduce": "batch"}],
    "instance": [{"level": "identity"}],
    "uncertain_pair": [{"distance": "arc"}, {"distance": "chord_of_arc"}],
    "uncertain_softmax": [{"metric": "arc"}],
}
"""Params beside the defaults that take another way through a loss."""


def test_no_array_is_larger_than_pairs_of_images_or_images_by_identities(loss, operations):
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
        with operations() as seen:
            built(x).value.backward()
        assert 0 < seen.largest <= LARGEST, given
