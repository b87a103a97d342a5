"""Training by the library: what stops it."""

import itertools
import os
import signal
import threading
import time

import pytest
from tokenizers import models

from yxanul.tokenizer.pre_tokenizers import byte_level
from yxanul.tokenizer.train_bpe import learn_bpe


def test_a_signal_stops_training_while_it_reads():
    """The library alone would read on for ever, and never let Python see the signal."""

    def endless():
        for number in itertools.count():
            if number == 50:
                os.kill(os.getpid(), signal.SIGUSR1)
            if number > 50:
                time.sleep(0.001)  # all that is read until the signal is seen, is trained on
            yield f"text number {number}"

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            learn_bpe(byte_level(models.BPE()), endless(), 300)
    finally:
        signal.signal(signal.SIGUSR1, before)
    for thread in threading.enumerate():
        if thread.name == "train tokenizer":
            thread.join(60)
            assert not thread.is_alive()


def test_what_goes_wrong_with_the_text_is_raised():
    def broken():
        yield "some text"
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="the disk is gone"):
        learn_bpe(byte_level(models.BPE()), broken(), 300)
