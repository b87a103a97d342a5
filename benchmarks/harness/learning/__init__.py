"""The study of learning: which text, which arms, which jobs in which order, and what they say."""
