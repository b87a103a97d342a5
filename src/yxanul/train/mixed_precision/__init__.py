"""Mixed precision: bf16, fp16 or fp8 compute with fp32 master weights."""
