"""Functions that a fresh process can import: test modules themselves have no importable name."""


def raise_it(error):
    raise error


def items_of(source, part):
    return list(source.read(part))


def causes_of(opened, documents):
    return [opened.cause(document) for document in documents]
