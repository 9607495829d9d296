"""The list of mutants fits the code it means to break. ``scripts/mutants`` tries them."""

import pytest

from support.mutants import ROOT, SOURCE, Mutant, all_mutants


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place(mutant: Mutant) -> None:
    assert (SOURCE / mutant.file).read_text().count(mutant.old) == 1, "adapt tests/mutants.toml"
    assert mutant.new != mutant.old


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_the_test_that_must_catch_it_exists(mutant: Mutant) -> None:
    file, _, name = mutant.test.partition("::")
    text = (ROOT / file).read_text()
    assert f"def {name}(" in text or f"class {name}:" in text


def test_names_are_told_apart() -> None:
    names = [mutant.name for mutant in all_mutants()]
    assert len(set(names)) == len(names)
