"""Building blocks: attention, feed-forward, norms, RoPE, embedding."""
