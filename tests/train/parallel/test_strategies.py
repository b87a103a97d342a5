from dataclasses import replace

import pytest

from train.parallel.runs import Run, make_trainer
from yxanul.base.errors import YxanulError
from yxanul.train.parallel import strategies
from yxanul.train.parallel.ddp import DdpEngine
from yxanul.train.parallel.fsdp import FsdpEngine
from yxanul.train.parallel.world import World

ENGINES = {"auto": DdpEngine, "ddp": DdpEngine, "fsdp": FsdpEngine}


def test_one_process_divides_nothing():
    for strategy in ENGINES:
        engine = make_trainer(World(), Run(strategy=strategy)).engine
        assert type(engine) is strategies.Engine


@pytest.mark.parametrize("strategy", ENGINES)
def test_several_train_by_the_strategy(pair, strategy):
    made = pair.run(engine_name, Run(strategy=strategy))
    assert made == [ENGINES[strategy].__name__] * 2


def engine_name(world, run):
    return type(make_trainer(world, run).engine).__name__


def test_other_weights_in_a_process_are_refused(pair):
    for line in pair.run(refusal, Run()):
        assert "different weights" in line and "\n" not in line


def refusal(world, run):
    with pytest.raises(YxanulError) as error:
        make_trainer(world, replace(run, seed=1 + world.rank))
    return str(error.value)
