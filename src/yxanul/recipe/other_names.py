"""Names of recipe keys in other trainers (transformers, nanoGPT, nanochat, litgpt ...)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

_OTHER_NAMES = {
    "description": "title comment notes",
    "seed": "random_seed data_seed manual_seed",
    "tokenizer.kind": "tokenizer_type tokenizer_class type",
    "tokenizer.path": (
        "tokenizer_path tokenizer_dir tokenizer_name tokenizer_name_or_path vocab_file "
        "merge_file tokenizer_file tokenizer_model file"
    ),
    "tokenizer.vocab_size": "n_vocab num_tokens vocabulary_size padded_vocab_size size",
    "tokenizer.end_of_text": "eos_token eos eot_token end_of_text_token",
    "tokenizer.special_tokens": "additional_special_tokens extra_special_tokens",
    "data.sources": "datasets dataset train_data train_dataset data_mixture",
    "data.sources.NAME.path": (
        "data_dir data_path train_file train_files input_file dataset_path file files "
        "folder_path dir directory filename url"
    ),
    "data.sources.NAME.kind": "type",
    "data.sources.NAME.name": "dataset_name hf_dataset repo_id repo dataset_id",
    "data.sources.NAME.config": "dataset_config_name dataset_config subset",
    "data.sources.NAME.text_column": (
        "text_column_name text_field dataset_text_field column text_key field"
    ),
    "data.sources.NAME.limit": "max_train_samples max_samples num_documents max_documents",
    "data.validation_fraction": (
        "val_fraction validation_split val_split val_split_fraction test_size "
        "validation_split_percentage eval_fraction holdout_fraction"
    ),
    "data.workers": "num_workers num_proc preprocessing_num_workers dataloader_num_workers",
    "data.deduplicate": "dedup deduplication",
    "data.shuffle_tokens": "shuffle shuffle_buffer_size buffer_size",
    "data.folder": "cache_dir output_data_dir dataset_prepared_path",
    "model.preset": "model_name model_type arch architecture model_config",
    "model.init_from": (
        "model_name_or_path pretrained_model_name_or_path initial_checkpoint_dir init_checkpoint "
        "pretrained_path pretrained load_weights from_pretrained base_model"
    ),
    "model.width": (
        "hidden_size n_embd d_model dim hidden_dim embed_dim embedding_dim model_dim n_embed "
        "embedding_size hidden"
    ),
    "model.depth": (
        "num_layers n_layer n_layers num_hidden_layers layers num_blocks nlayers num_layer n_blocks"
    ),
    "model.num_heads": "num_attention_heads n_head n_heads heads num_head nhead",
    "model.num_kv_heads": (
        "num_key_value_heads n_kv_head n_kv_heads n_query_groups kv_heads num_query_groups "
        "group_query_attention gqa"
    ),
    "model.head_width": "head_dim head_size d_head kv_channels",
    "model.ffn": (
        "hidden_act activation activation_function mlp_class_name mlp_type swiglu use_swiglu"
    ),
    "model.ffn_width": (
        "intermediate_size ffn_dim d_ff ffn_hidden_size mlp_dim ff_dim n_inner "
        "ffn_hidden_dim mlp_hidden_dim dim_feedforward mlp_ratio mlp_hidden_size "
        "ffn_dim_multiplier"
    ),
    "model.norm": "norm_type norm_class_name normalization",
    "model.norm_eps": "rms_norm_eps layer_norm_eps layer_norm_epsilon norm_epsilon",
    "model.positions": (
        "position_embedding_type pos_emb positional_encoding rope use_rope alibi use_alibi"
    ),
    "model.rope_theta": "rope_base rotary_base theta rotary_emb_base",
    "model.window": "sliding_window sliding_window_size window_size attention_window",
    "model.layer_pattern": "layer_types window_pattern sliding_window_pattern",
    "model.max_seq_len": (
        "max_position_embeddings n_positions n_ctx block_size max_seq_length max_length "
        "sequence_length seq_length context_length context_size sequence_len"
    ),
    "model.qk_norm": "norm_qk use_qk_norm qk_layernorm",
    "model.query_scale": "query_pre_attn_scalar attention_scale",
    "model.head": (
        "tie_word_embeddings tie_embeddings weight_tying tied_embeddings "
        "untie_embeddings_and_output_weights share_embeddings_and_output_weights"
    ),
    "model.embedding_rank": "factorized_embedding embedding_factor",
    "model.init_std": "initializer_range init_scale init_method_std",
    "model.logit_soft_cap": "final_logit_softcapping logits_soft_cap softcap",
    "model.z_loss": "z_loss_weight z_loss_multiplier",
    "model.document_masking": "doc_mask intra_document_masking attn_mask_type",
    "optim.name": "optimizer optim_name optimizer_name optimizer_type",
    "optim.peak_lr": (
        "learning_rate lr max_lr peak_rate base_lr peak_learning_rate rate embedding_lr "
        "unembedding_lr"
    ),
    "optim.muon_lr": "matrix_lr muon_rate",
    "optim.lr_scale_by_role": "role_scales",
    "optim.weight_decay": "wd decay l2",
    "optim.betas": "beta1 beta2 adam_beta1 adam_beta2",
    "optim.eps": "adam_epsilon adam_eps epsilon",
    "optim.grad_clip": (
        "clip max_grad_norm max_norm gradient_clip_val gradient_clipping clip_grad_norm "
        "clip_grad grad_norm_clip"
    ),
    "optim.ema": "ema_decay use_ema",
    "optim.schedule.name": (
        "lr_scheduler_type lr_schedule scheduler lr_scheduler decay_type lr_decay_style decay_lr"
    ),
    "optim.schedule.warmup_steps": (
        "warmup_iters lr_warmup_steps num_warmup_steps warmup lr_warmup_iters"
    ),
    "optim.schedule.warmup_fraction": "warmup_ratio lr_warmup_fraction",
    "optim.schedule.min_lr": "floor_rate min_learning_rate final_lr lr_min",
    "optim.schedule.min_lr_fraction": (
        "floor_fraction min_lr_ratio final_lr_frac min_lr_rate lr_min_ratio"
    ),
    "optim.schedule.decay_fraction": "warmdown_ratio cooldown_fraction decay_ratio",
    "train.precision": "dtype torch_dtype mixed_precision bf16 fp16 amp autocast fp32 tf32",
    "train.device": "device_type accelerator use_cpu no_cuda use_cuda gpu",
    "train.strategy": "distributed distributed_strategy ddp fsdp parallelism",
    "train.compile": "torch_compile use_compile",
    "train.attention": "attn_implementation attention_backend flash_attention use_flash",
    "train.batch_tokens": (
        "total_batch_size global_batch_size batch_size train_batch_size tokens_per_step "
        "batch_size_tokens global_train_batch_size"
    ),
    "train.micro_batch_size": (
        "per_device_train_batch_size device_batch_size micro_batch local_batch_size "
        "train_micro_batch_size_per_gpu device_train_microbatch_size"
    ),
    "train.gradient_checkpointing": (
        "activation_checkpointing activation_checkpoint checkpoint_activations "
        "recompute_granularity enable_activation_checkpointing"
    ),
    "train.checkpoint.every_steps": (
        "save_steps save_interval checkpoint_interval save_every ckpt_interval "
        "checkpoint_every save_strategy"
    ),
    "train.checkpoint.keep": "save_total_limit keep_last max_checkpoints keep_last_n",
    "stages.N.gate.rules": "progress forgetting bits_per_byte perplexity limits",
    "train.checkpoint.best": "metric_for_best_model monitor_metric load_best_model_at_end",
    "monitor.alerts.loss_spike": "skip_spikes skip_outliers loss_spike_threshold",
    "train.max_skipped_steps": "max_bad_steps",
    "optim.hessian_steps": "curvature_steps",
    "optim.hessian_scale": "curvature_scale",
    "optim.schedule.schedule_unit": "horizon",
    "data.overlap_prepare": "train_early",
    "data.executor": "engine",
    "stages.N.name": "stage_name",
    "stages.N.mix": "weights mixture proportions sampling_weights data_weights weight",
    "stages.N.budget.steps": (
        "max_steps max_iters num_iterations total_steps train_steps num_steps num_train_steps "
        "train_iters max_iterations iterations training_steps steps n_steps iters"
    ),
    "stages.N.budget.tokens": (
        "max_tokens_total total_tokens max_train_tokens train_tokens max_tokens max_duration"
    ),
    "stages.N.budget.epochs": "num_train_epochs num_epochs max_epochs_total epochs n_epochs",
    "stages.N.budget.minutes": (
        "max_time max_minutes time_limit minutes time_budget hours max_hours"
    ),
    "stages.N.curriculum.N.seq_len": (
        "block_size max_seq_length max_length sequence_length seq_length context_length "
        "context_size sequence_len context_len max_sequence_length"
    ),
    "stages.N.curriculum.N.device_batch_size": (
        "rows batch_size per_device_train_batch_size micro_batch_size"
    ),
    "stages.N.curriculum.N.grad_accum_steps": (
        "gradient_accumulation_steps accumulation accumulate_grad_batches grad_accum "
        "gradient_accumulation_iters accumulation_steps gradient_accumulation"
    ),
    "stages.N.curriculum.N.lr_scale": "rate_scale",
    "stages.N.curriculum.N.grad_clip": "clip",
    "stages.N.curriculum.N.devices": "world_size num_devices n_gpus num_gpus gpus",
    "monitor.trackers": (
        "report_to logger loggers wandb_log wandb tensorboard log_to tracker wandb_project"
    ),
    "eval.every_steps": (
        "eval_steps eval_interval eval_every val_check_interval evaluation_interval "
        "val_interval val_loss_every eval_strategy evaluation_strategy interval"
    ),
    "eval.max_tokens": "eval_iters eval_tokens max_eval_samples max_eval_batches",
    "eval.sample_prompts": "prompts prompt sample_prompt start",
    "eval.sample_tokens": "max_new_tokens",
}
_OTHER_VALUES = {
    "adamw": "adam adamw_torch adamw_torch_fused adamw_hf",
    "bf16": "bfloat16 bf16-true bf16-mixed 16 16-mixed",
    "constant": "constant_with_warmup",
    "cosine": "cosine_with_warmup cosine_with_min_lr cosine_annealing",
    "cuda": "gpu cuda:0",
    "deepspeed": "zero zero1 zero2",
    "fp16": "float16 half 16-true",
    "fp32": "float32 float full 32 32-true",
    "fp8": "float8",
    "fsdp": "fsdp2 full_shard",
    "full": "true all",
    "geglu": "gelu_glu",
    "gelu": "gelu_new gelu_pytorch_tanh",
    "hub": "huggingface hf dataset datasets hf_dataset",
    "jsonl": "json ndjson",
    "layernorm": "layer_norm",
    "linear": "linear_with_warmup",
    "text": "plain txt file files folder markdown eager csv tsv html",
    "rmsnorm": "rms_norm rms",
    "swiglu": "silu swish llamamlp",
    "wsd": "warmup_stable_decay trapezoidal",
}
_WITHOUT_KEY = {
    "this model has no dropout": (
        "dropout attn_dropout attention_dropout resid_dropout hidden_dropout resid_pdrop "
        "embd_pdrop attn_pdrop hidden_dropout_prob dropout_rate attention_probs_dropout_prob "
        "lora_dropout"
    ),
    "this model has no experts": "num_experts n_experts num_local_experts num_experts_per_tok moe",
    "models are sharded only by train.strategy": (
        "tensor_model_parallel_size pipeline_model_parallel_size context_parallel_size "
        "tensor_parallel pipeline_parallel sequence_parallel tp pp"
    ),
    "set the number of processes with --devices on the command line": (
        "num_nodes nnodes nproc_per_node"
    ),
    "the learning rate decays until the end of the budget": (
        "lr_decay_iters lr_decay_steps lr_decay_samples decay_steps"
    ),
    "rotary positions are not scaled beyond model.max_seq_len": "rope_scaling",
    "generation always uses a KV cache": "use_cache",
    "rows are always packed": (
        "packing packed sample_packing eval_sample_packing pad_to_sequence_len group_by_length"
    ),
    "all weights are trained; there are no adapters": (
        "adapter lora peft lora_r lora_rank lora_alpha lora_attn_modules lora_target_modules "
        "load_in_8bit load_in_4bit"
    ),
    "every token of a text is a target": "train_on_inputs train_on_input",
    "nothing is uploaded": "push_to_hub hub_model_id",
    "this model has no biases": (
        "bias use_bias attention_bias mlp_bias qkv_bias include_bias add_bias_linear"
    ),
    "set the run folder with --out on the command line": (
        "output_dir out_dir save_dir run_name checkpoint_dir logging_dir out run_dir "
        "save_path save wandb_run_name wandb_name experiment_name exp_name"
    ),
    "run the same command again to resume": (
        "resume resume_from_checkpoint init_from_checkpoint resume_from load_checkpoint load"
    ),
    "extends is only allowed at the top of a recipe file and in its stages": "extends",
    "metrics are logged at every step": (
        "logging_steps log_interval log_every log_every_n_steps log_freq"
    ),
    "muon's momentum and lion's are part of the optimizer; see `optim.betas`": "momentum nesterov",
}
_ALSO_OF_STAGES = ("optim.peak_lr", "optim.weight_decay", "optim.schedule.")
"""Keys that a stage may override: below a stage, hints refer to the stage's key."""
OTHER_NAMES = {key: tuple(names.split()) for key, names in _OTHER_NAMES.items()}
"""Other names by our key. A name may map to several keys, as other trainers have fewer."""
WITHOUT_KEY = {why: tuple(names.split()) for why, names in _WITHOUT_KEY.items()}
"""Names without an equivalent key, by reason."""
OTHER_VALUES = {other: ours for ours, names in _OTHER_VALUES.items() for other in names.split()}
"""Our values by their names in other trainers."""


def our_keys(name: str, parents: Sequence[str | int]) -> list[str]:
    """Return our keys for another trainer's `name`: of several, those closest to `parents`."""
    at, name = [str(part) for part in parents], _plain(name)
    keys = [_at(key, at) for key, names in OTHER_NAMES.items() if name in names]
    shared = [_num_shared(key.split("."), at) for key in keys]
    return [key for key, number in zip(keys, shared, strict=True) if number == max(shared)]


def why_without_key(name: str) -> str | None:
    """Return why another trainer's key has no equivalent here; None if it is not a known one."""
    return next((why for why, names in WITHOUT_KEY.items() if _plain(name) in names), None)


def _num_shared(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _at(key: str, parents: list[str]) -> str:
    """Return a key with placeholders filled in from `parents`, as far as they match."""
    if parents[:1] == ["stages"] and key.startswith(_ALSO_OF_STAGES):
        key = f"stages.N.{key}"
    parts = key.split(".")
    for index, (part, parent) in enumerate(zip(parts, parents, strict=False)):
        if part not in ("N", "NAME", parent):
            break
        parts[index] = parent
    return ".".join(parts)
