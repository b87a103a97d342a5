"""DeepSpeed configurations as people have them, under a recipe. DeepSpeed itself is not needed."""

import json

import pytest

from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings
from yxanul.optim.table import divided_by
from yxanul.train.config import TrainSettings
from yxanul.train.parallel.deepspeed_config import DEFAULT, merged, read_config

USUAL = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "fp16": {"enabled": "auto", "loss_scale": 0, "initial_scale_power": 16},
    "bf16": {"enabled": "auto"},
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "auto"}},
    "zero_optimization": {
        "stage": 2,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
        "allgather_bucket_size": 2e8,
        "reduce_bucket_size": "auto",
        "overlap_comm": True,
        "contiguous_gradients": True,
    },
    "steps_per_print": 2000,
    "wall_clock_breakdown": False,
}
"""As tutorials of other trainers have it."""


def test_a_usual_file_is_taken_as_it_is():
    before = json.dumps(USUAL)
    found = merged(USUAL, "bf16", 8, 1000)
    assert found.stage == 2 and found.overridden == ("optimizer", "scheduler")
    assert found.config == {
        "train_batch_size": 8,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "gradient_allreduce_op": "sum",
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32", "param_dtype": None},
        "fp16": {"enabled": False},
        "bf16": {"enabled": True},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": 2,
            "offload_optimizer": {"device": "cpu", "pin_memory": True},
            "allgather_bucket_size": 2e8,
            "reduce_bucket_size": 1000,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "round_robin_gradients": False,
            "parameter_alignment": False,
        },
        "steps_per_print": 2000,
        "wall_clock_breakdown": False,
    }
    assert json.dumps(USUAL) == before


def test_what_a_file_decides_that_the_recipe_decides_is_named():
    said = {
        "train_batch_size": 256,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 8,
        "gradient_clipping": 1.0,
        "fp16": {"enabled": True, "loss_scale": 0},
        "bf16": {"enabled": False},
        "data_types": {"grad_accum_dtype": "bf16"},
        "elasticity": {"enabled": True},
        "amp": {"enabled": False},
        "gradient_predivide_factor": 2.0,
        "zero_optimization": {"stage": 1, "round_robin_gradients": True},
        "communication_data_type": "bf16",
    }
    found = merged(said, "bf16", 2, 1000)
    assert found.overridden == (
        "bf16",
        "data_types.grad_accum_dtype",
        "elasticity",
        "fp16",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "gradient_predivide_factor",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "zero_optimization.round_robin_gradients",
    )
    assert found.config["communication_data_type"] == "bf16"  # no matter of the recipe
    assert not found.config.keys() & {"elasticity", "amp", "gradient_predivide_factor"}


@pytest.mark.parametrize("enabled", [True, "auto", None])
def test_a_precision_that_is_the_same_is_not_named(enabled):
    block = {} if enabled is None else {"enabled": enabled}
    found = merged({"bf16": block, "gradient_accumulation_steps": 1}, "bf16", 2, 1000)
    assert not found.overridden and found.config["bf16"] == {"enabled": True}


def test_settings_beside_a_precision_are_named():
    block = {"enabled": True, "bf16_master_weights_and_grads": True}
    assert merged({"bf16": block}, "bf16", 2, 1000).overridden == ("bf16",)


def test_bf16_in_a_file_yields_to_fp32():
    found = merged({"bf16": {"enabled": True}}, "fp32", 2, 1000)
    assert found.overridden == ("bf16",) and found.config["bf16"] == {"enabled": False}


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        (DEFAULT, 1),
        ({}, 0),
        ({"zero_optimization": {}}, 0),
        ({"zero_optimization": {"stage": 0}}, 0),
        ({"zero_optimization": {"stage": "auto"}}, 1),
        ({"zero_optimization": {"stage": 2, "reduce_bucket_size": 7}}, 2),
    ],
)
def test_the_stage_is_the_file_s(file, stage):
    found = merged(file, "fp32", 2, 1000)
    assert found.stage == found.config["zero_optimization"]["stage"] == stage
    bucket = file.get("zero_optimization", {}).get("reduce_bucket_size", 1000)
    assert found.config["zero_optimization"]["reduce_bucket_size"] == bucket


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"zero_optimization": {"stage": 3}}, "got 3; expected stage 1 or 2"),
        ({"zero_optimization": {"stage": "2"}}, "got '2'; expected stage 1 or 2"),
        ({"zero_optimization": True}, "zero_optimization .*got True"),
        ({"tensor_parallel": {"autotp_size": 2}}, "got tensor_parallel"),
        ({"sequence_parallel_size": 2}, "got sequence_parallel_size"),
        ({"data_types": 3}, "data_types .*got 3"),
    ],
)
def test_what_is_not_supported_is_one_line(file, words):
    with pytest.raises(YxanulError, match=words) as caught:
        merged(file, "fp32", 2, 1000)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read; got No such file"),
        (b"{'stage': 1}", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[1]", "got a list"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, text, words):
    path = tmp_path / "ds.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(YxanulError, match=words) as caught:
        read_config(str(path))
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(USUAL))
    assert read_config(str(path)) == USUAL
    assert read_config(None) == {"zero_optimization": {"stage": 1}}


def test_settings_that_do_not_go_together_are_refused():
    assert TrainSettings(strategy="deepspeed", deepspeed="ds.json", precision="bf16")
    with pytest.raises(ValueError, match="deepspeed, not ddp"):
        TrainSettings(strategy="ddp", deepspeed="ds.json")
    for precision in ("fp16", "fp8"):
        with pytest.raises(ValueError, match=f"does not support {precision}"):
            TrainSettings(strategy="deepspeed", precision=precision)
    assert all(OptimSettings(name=name) for name in divided_by("deepspeed"))
