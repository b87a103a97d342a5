"""Tokenizers: bytes, BPE, SuperBPE, GPT-2, or any tokenizer.json."""
