"""What the benchmark of whole trainers is made of: text, contenders, figures."""
