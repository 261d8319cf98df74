"""The operator's file of shared volumes."""

import pytest

from app.domain.shared import SharedVolume, VolumesError, parse_volumes


def test_a_volume_has_a_path_and_may_be_read_only() -> None:
    text = '[data]\npath = "/srv/data"\n["my models"]\npath = "/srv/models"\nread_only = true\n'
    assert parse_volumes(text) == {
        "data": SharedVolume(path="/srv/data", read_only=False),
        "my models": SharedVolume(path="/srv/models", read_only=True),
    }
    assert parse_volumes("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "not TOML"),
        ("[a]\n", "volume 'a': path: Field required"),
        ('[a]\npath = "srv"\n', "volume 'a': path: "),
        ('[a]\npath = "/srv/../etc"\n', "volume 'a': path: "),
        ('[a]\npath = "/"\n', 'must not be "/"'),
        ('[a]\npath = "/srv"\nread_only = 1\n', "volume 'a': read_only: "),
        ('[a]\npath = "/srv"\nmode = "rw"\n', "volume 'a': mode: "),
        ('[""]\npath = "/srv"\n', "a name has 1 to 64"),
        ('[a]\npath = "/srv"\n[b]\npath = "/srv/b"\n', "volume 'b': path: must not lie within"),
        ('[a]\npath = "/srv/a/"\n[b]\npath = "/srv"\n', "volume 'a': path: must not lie within"),
        ("a = 1\n", "volume 'a': "),
    ],
)
def test_what_is_wrong_is_told_by_the_volume(text: str, words: str) -> None:
    with pytest.raises(VolumesError) as error:
        parse_volumes(text)
    assert words in str(error.value)


def test_two_names_may_mean_one_directory_and_a_like_name_is_no_part_of_it() -> None:
    text = '[a]\npath = "/srv"\n[b]\npath = "/srv"\nread_only = true\n[c]\npath = "/srv2"\n'
    assert set(parse_volumes(text)) == {"a", "b", "c"}
