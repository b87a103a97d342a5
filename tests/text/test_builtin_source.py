import email
from pathlib import Path
from typing import get_args

import pytest

from yxanul.text.config import BuiltinSettings
from yxanul.text.documents import Dropped
from yxanul.text.sources import builtin_source, open_source
from yxanul.text.sources.builtin import DOMAINS, SYNTHETIC_NOTICE, python_sources

GENERATED = sorted(DOMAINS)


def test_the_settings_know_every_domain():
    domains = get_args(BuiltinSettings.model_fields["domain"].annotation)
    assert set(domains) == {*DOMAINS, "python"}


@pytest.mark.parametrize("domain", GENERATED)
def test_documents_come_in_parts_and_by_number(read, domain):
    result = read(BuiltinSettings(domain=domain, documents=1234, seed=5))
    assert [part.name for part in result.parts] == [f"{domain}:0-1000", f"{domain}:1000-1234"]
    assert [document.id for document in result.documents] == [f"{domain}#{n}" for n in range(1234)]
    assert result.texts[1100] == DOMAINS[domain](1100, 5)
    assert result.notes == [SYNTHETIC_NOTICE]


@pytest.mark.parametrize("domain", GENERATED)
def test_another_seed_makes_other_documents_and_another_mark(read, domain):
    one, other = (read(BuiltinSettings(domain=domain, documents=20, seed=seed)) for seed in (0, 1))
    assert not set(one.texts) & set(other.texts)
    assert one.parts[0].fingerprint != other.parts[0].fingerprint


@pytest.mark.parametrize(
    ("documents", "limit", "count"), [(None, None, 10_000), (1500, 70, 70), (None, 7, 7)]
)
def test_how_many(documents, limit, count):
    settings = BuiltinSettings(domain="math", documents=documents, limit=limit)
    parts = open_source("mine", settings).slices()
    assert parts[-1].name.endswith(f"-{count}")


def test_more_documents_keep_the_parts_there_are():
    few, many = (
        open_source("mine", BuiltinSettings(domain="math", documents=n)).slices()
        for n in (2000, 3000)
    )
    assert many[:2] == few


def test_the_standard_library_is_read_by_modules(read):
    settings = BuiltinSettings(domain="python")
    source = open_source("mine", settings)
    assert not source.synthetic
    assert source.notes == []
    parts = source.slices()
    assert len(parts) > 5
    last = list(source.read(parts[-1]))
    first = python_sources.modules()[builtin_source.MODULES_A_PART * (len(parts) - 1)]
    name = first.relative_to(python_sources.library_folder()).as_posix()
    assert last[0].id == f"{name}#0"
    assert first.read_text().startswith(last[0].text)


def test_a_limit_on_the_standard_library(read, monkeypatch):
    some = Path(email.__file__).parent
    monkeypatch.setattr(python_sources, "library_folder", lambda: some)
    few = read(BuiltinSettings(domain="python", documents=15))
    fewer = read(BuiltinSettings(domain="python", documents=15, limit=6))
    assert (len(few.items), len(fewer.items)) == (15, 6)
    assert few.items[:6] == fewer.items


def test_a_module_that_is_no_text_is_counted(tmp_path, read, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_bytes(b"# caf\xe9\n")
    (tmp_path / "c.py").write_text("y = 2\n")
    monkeypatch.setattr(python_sources, "library_folder", lambda: tmp_path)
    result = read(BuiltinSettings(domain="python"))
    assert result.texts == ["x = 1\n", "y = 2\n"]
    assert result.items[1] == Dropped("broken_utf8", "b.py")
