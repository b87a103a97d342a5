import pytest
import torch

from yxanul.train.parallel.fsdp import RowShards
from yxanul.train.parallel.world import World


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("rows", [1, 2, 7, 16])
def test_parts_are_those_of_torch_chunk(size, rows):
    """As FSDP cuts; processes at the end may have nothing."""
    whole = torch.arange(rows * 3.0).view(rows, 3)
    chunks = list(whole.chunk(size)) + [whole[:0]] * size
    for rank in range(size):
        assert torch.equal(RowShards({}, World(rank, size)).shard(whole), chunks[rank])


def test_parts_of_several_are_joined_at_once(pair):
    for first, second in pair.run(join_two):
        assert torch.equal(torch.tensor(first), torch.arange(10.0).view(5, 2))
        assert torch.equal(torch.tensor(second), -torch.arange(10.0).view(5, 2))


def join_two(world):
    whole = torch.arange(10.0).view(5, 2)
    shards = RowShards({}, world)
    params = [shards.shard(whole), shards.shard(-whole)]
    found = RowShards(dict.fromkeys(params, whole.shape), world).all_gather(params, params)
    return [one.tolist() for one in found]
