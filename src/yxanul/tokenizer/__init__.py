"""Tokenizers: text to ids and back; bytes, BPE, SuperBPE, GPT-2, or any tokenizer.json."""
