"""Document filters; each kind is a class in the table FILTERS."""
