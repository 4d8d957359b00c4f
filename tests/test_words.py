"""The project is written in the field's words: see CONTRIBUTING.md."""

import pytest
from tests import words


@pytest.mark.parametrize("root", words.TEXTS)
def test_no_avoided_word_is_written(root):
    found = [f"{file}:{n}: {line}" for file in words.files((root,)) for n, _, line in words.avoided(file)]
    assert not found


@pytest.mark.parametrize("root", words.TEXTS)
def test_docstrings_begin_as_they_should(root):
    found = [f"{file}:{n}: {line}" for file in words.files((root,)) for n, line in words.openers(file)]
    assert not found


def test_words_and_docstrings_are_found(tmp_path):
    file = tmp_path / "module.py"
    file.write_text('"""What it is."""\n\n\ndef f():\n    """The rows with a\n    Twin, for\n    ever."""\n')
    assert [(n, line) for n, _, line in words.avoided(file)] == [(6, "Twin, for"), (6, "Twin, for")]
    assert [n for n, _ in words.openers(file)] == [1, 4]


def test_a_property_and_a_class_may_be_named_by_a_noun(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        'class A:\n    """The rows."""\n\n    @property\n    def b(self):\n        """The sum."""\n\n'
        '    def c(self):\n        """Return the sum."""\n'
    )
    assert not [*words.openers(file)]
