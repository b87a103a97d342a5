import multiprocessing
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor

import pytest

from processes import raise_it
from yxanul.base.errors import GateFailed, Interrupted, YxanulError, did_you_mean, missing_package

ERRORS = [
    YxanulError("it broke", got=3, expected="at most 2", hint="lower it"),
    YxanulError("it broke"),
    GateFailed("stage 'one' did not pass", got="12"),
    Interrupted("stopped", signal_number=signal.SIGTERM, hint="go on"),
]


def state_of(error):
    return type(error), str(error), error.exit_code, vars(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_pickled_it_is_the_same(error):
    assert state_of(pickle.loads(pickle.dumps(error))) == state_of(error)


def test_errors_cross_a_process_border():
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        for error in ERRORS:
            with pytest.raises(type(error)) as caught:
                pool.submit(raise_it, error).result()
            found = caught.value
            assert (type(found), str(found)) == (type(error), str(error))
            assert (found.exit_code, found.hint) == (error.exit_code, error.hint)


def test_the_message_says_what_found_wanted_and_hint_in_this_order():
    assert str(ERRORS[0]) == "it broke; got 3; expected at most 2; lower it"
    assert str(YxanulError("no", expected=0, got=0)) == "no; got 0; expected 0"
    assert str(ERRORS[1]) == "it broke"


def test_exit_codes():
    assert [error.exit_code for error in ERRORS] == [2, 2, 3, 128 + 15]
    assert Interrupted("x", signal_number=signal.SIGINT).exit_code == 130


def test_near_misses():
    assert did_you_mean("adamv", ["adamw", "muon"]) == "did you mean 'adamw'?"
    assert did_you_mean("zzz", ["adamw", "muon"]) is None


def test_a_missing_package_names_its_extra():
    expected = "the package 'datasets' is not installed; pip install 'yxanul[data]'"
    assert str(missing_package("datasets", "data")) == expected
