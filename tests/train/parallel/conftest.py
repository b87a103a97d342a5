import pytest

from train.parallel.pair import Pair


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """Two processes that train together."""
    two = Pair(tmp_path_factory.mktemp("pair"))
    yield two
    two.end()
