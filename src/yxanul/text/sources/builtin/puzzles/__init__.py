"""The kinds of deduction puzzles that the domain "reasoning" is made of."""
