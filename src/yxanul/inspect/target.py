"""What a path stands for: a run, a folder of encoded sources, or one source."""

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
from yxanul.data.storage import RemoteStorage
from yxanul.recipe import Recipe, load_recipe
from yxanul.tokenizer.load import open_named
from yxanul.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Target:
    """Sources, and the run that they belong to if that is known."""

    path: Path
    """What was named."""
    folders: dict[str, Path]
    """The folder of each source."""
    missing: tuple[str, ...]
    """Sources of the run that are not there at all."""
    run: RunFolder | None
    recipe: Recipe | None
    is_run: bool
    """Whether the run itself was named, and not its data."""

    @property
    def facts(self) -> dict[str, str | None]:
        """What --json says of it."""
        return {"run": str(self.run.path) if self.run else None, "shards": str(self.path)}

    def only(self, source: str | None, what: str) -> tuple[str, Path]:
        """Return the source that is named, or the only one that there is."""
        if source is None and len(self.folders) > 1:
            raise YxanulError(
                f"{what} is that of one source", expected=f"--source {' or '.join(self.folders)}"
            )
        ((name, folder),) = self.chosen(source).items()
        return name, folder

    def chosen(self, source: str | None) -> dict[str, Path]:
        """Return the source that is named, or all of them."""
        return self.folders if source is None else {source: lookup(self.folders, source, "source")}


def find_place(path: Path, ui: Ui) -> Target:
    """Find the sources that `path` stands for; what holds none is an error."""
    run = RunFolder(path)
    if not run.recipe.is_file():
        folders = source_folders(path)
        run, recipe = _run_around(next(iter(folders.values())).parent)
        return Target(path, folders, (), run, recipe, is_run=False)
    recipe = load_recipe(str(run.recipe))
    data = run.data(recipe.data.folder)
    if recipe.data.folder and is_address(recipe.data.folder):
        _fetch(recipe.data.folder, data, list(recipe.data.sources), ui)
    if not data.is_dir():
        raise YxanulError(f"{path} has no shards yet", hint="run `yxanul prepare` with its recipe")
    there = source_folders(data)
    folders = {name: there[name] for name in recipe.data.sources if name in there}
    missing = tuple(name for name in recipe.data.sources if name not in there)
    return Target(path, folders, missing, run, recipe, is_run=True)


def _fetch(address: str, folder: Path, names: list[str], ui: Ui) -> None:
    """Copy the sources that are there from an address, as far as they have changed."""
    with StopRequest().handled():
        place = RemoteStorage(address, folder)
        place.look()
        there = place.sources()
        fetch_shards(address, ui, [name for name in names if name in there])


def _run_around(data: Path) -> tuple[RunFolder | None, Recipe | None]:
    """Return the run whose data folder `data` is, if it lies within one."""
    run = RunFolder(data.resolve().parent)
    if not run.recipe.is_file() or run.data(None).resolve() != data.resolve():
        return None, None
    return run, load_recipe(str(run.recipe))


class TokenizerFinder:
    """Gives the tokenizer of a source: the one that is named, the run's, or one beside the data."""

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
            files = [file for one in around if (file := one / "tokenizer.json").is_file()]
        if files:
            self._tokenizer, self._where = Tokenizer.load(files[0]), str(files[0])

    def of(self, header: Header) -> Tokenizer | None:
        """Return the tokenizer of a source, or None if it is not at hand.

        Raises a YxanulError if the one that is named, or the run's, is another.
        """
        if self._tokenizer is None or self._tokenizer.digest == header.tokenizer:
            return self._tokenizer
        if not self._strict:
            return None
        raise YxanulError(
            f"'{header.source}' was encoded with another tokenizer than {self._where}",
            got=self._tokenizer.digest[:12],
            expected=header.tokenizer[:12],
        )
