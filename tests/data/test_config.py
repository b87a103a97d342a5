import pytest
from pydantic import ValidationError

from yxanul.data.config import DataSettings

SOURCE = {"kind": "builtin", "domain": "stories"}


@pytest.mark.parametrize("name", ["", "a/b", "..", "two words", "-x"])
def test_a_name_that_is_no_folder_is_refused(name):
    with pytest.raises(ValidationError, match="invalid source name"):
        DataSettings.model_validate({"sources": {name: SOURCE}})


def test_names_that_some_file_systems_confuse_are_refused():
    with pytest.raises(ValidationError, match="differ only in case"):
        DataSettings.model_validate({"sources": {"Tales": SOURCE, "tales": SOURCE}})


@pytest.mark.parametrize(
    "change", [{"sources": {}}, {"validation_fraction": 0}, {"validation_fraction": 1}]
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValidationError):
        DataSettings.model_validate({"sources": {"a": SOURCE}} | change)
