"""Tokenizers: text to ids and back; bytes, byte-level BPE, GPT-2, or any tokenizer.json."""
