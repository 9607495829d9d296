"""The tutorial, followed literally: everything it prints appears as it is printed there."""

from pathlib import Path

from support.tutorial import PAGE, Step, by_form, greeting_of, reader, steps_of

REMAKE = "run PYTHONPATH=tests .venv/bin/python -m support.tutorial, and read what has changed"


def test_every_command_prints_what_the_tutorial_says(tmp_path: Path) -> None:
    page = PAGE.read_text()
    steps = list(steps_of(page))
    assert len(steps) > 10
    with reader(tmp_path) as person:
        assert by_form(person.greeting) == by_form(greeting_of(page)), REMAKE
        for step in steps:
            printed = person.does(step)
            if isinstance(step, Step):
                assert by_form(printed) == by_form(step.printed), f"{step.command}{REMAKE}"
