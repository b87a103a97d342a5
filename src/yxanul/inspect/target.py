"""Target of an inspection: a run, a folder of encoded sources, or one source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.registry import lookup
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.data.fetch import fetch_shards
from yxanul.data.inspect import source_folders
from yxanul.data.manifest import Header
from yxanul.recipe import Recipe, load_recipe
from yxanul.tokenizer.load import open_named
from yxanul.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Target:
    """Encoded sources, and the run they belong to if known."""

    path: Path
    """The path that was given."""
    folders: dict[str, Path]
    """The folder of each source."""
    missing: tuple[str, ...]
    """Sources of the run that have no folder of shards."""
    run: RunFolder | None
    recipe: Recipe | None

    @property
    def facts(self) -> dict[str, str | None]:
        """Facts for --json."""
        return {"run": str(self.run.path) if self.run else None, "shards": str(self.path)}

    def only(self, source: str | None, what: str) -> tuple[str, Path]:
        """Return the given source, or the only one."""
        if source is None and len(self.folders) > 1:
            raise YxanulError(
                f"the source of {what} is ambiguous",
                expected=f"--source {' or '.join(self.folders)}",
            )
        ((name, folder),) = self.chosen(source).items()
        return name, folder

    def chosen(self, source: str | None) -> dict[str, Path]:
        """Return the given source, or all of them."""
        return self.folders if source is None else {source: lookup(self.folders, source, "source")}


def find_target(path: Path, ui: Ui) -> Target:
    """Return the target at `path`; raise YxanulError if it has no shards."""
    run = RunFolder(path)
    if not run.recipe.is_file():
        folders = source_folders(path)
        run, recipe = _run_around(next(iter(folders.values())).parent)
        return Target(path, folders, (), run, recipe)
    recipe = load_recipe(str(run.recipe))
    data = run.data(recipe.data.folder)
    if recipe.data.folder and is_address(recipe.data.folder):
        with StopRequest().handled():
            fetch_shards(recipe.data.folder, ui, recipe.data.sources)
    if not data.is_dir():
        raise YxanulError(f"{path} has no shards yet", hint="run `yxanul prepare` with its recipe")
    existing = source_folders(data)
    folders = {name: existing[name] for name in recipe.data.sources if name in existing}
    missing = tuple(name for name in recipe.data.sources if name not in existing)
    return Target(path, folders, missing, run, recipe)


def _run_around(data: Path) -> tuple[RunFolder | None, Recipe | None]:
    """Return the run that has `data` as its data folder, if any."""
    run = RunFolder(data.resolve().parent)
    if not run.recipe.is_file() or run.data(None).resolve() != data.resolve():
        return None, None
    return run, load_recipe(str(run.recipe))


class TokenizerFinder:
    """Finds the tokenizer of a source: the given one, the run's, or one next to the data."""

    def __init__(self, place: Target, named: str | None) -> None:
        self._strict = True
        self._tokenizer: Tokenizer | None = None
        if named is not None:
            self._tokenizer, self._where = open_named(named), named
            return
        if place.run is not None and place.run.tokenizer.is_file():
            files = [place.run.tokenizer]
        else:
            self._strict = False
            data = next(iter(place.folders.values())).parent
            around = (place.path, data, data.parent)
            files = [file for folder in around if (file := folder / "tokenizer.json").is_file()]
        if files:
            self._tokenizer, self._where = Tokenizer.load(files[0]), str(files[0])

    def of(self, header: Header) -> Tokenizer | None:
        """Return the tokenizer of a source, or None if it is not available.

        Raises YxanulError if the given one, or the run's, does not match.
        """
        if self._tokenizer is None or self._tokenizer.digest == header.tokenizer:
            return self._tokenizer
        if not self._strict:
            return None
        raise YxanulError(
            f"'{header.source}' was encoded with a different tokenizer than {self._where}",
            got=self._tokenizer.digest[:12],
            expected=header.tokenizer[:12],
        )
