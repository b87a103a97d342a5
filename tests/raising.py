"""A function that a fresh process can import: test modules themselves have no importable name."""


def raise_it(error):
    raise error
