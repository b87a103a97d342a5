"""Distributed training: process groups and the ddp, fsdp and deepspeed strategies."""
