"""Each rule of failover's shell, broken on purpose, is found out by the quick test that is named.

The tests themselves run beside this one, over the product as it is.
"""

import pytest

from tests.broken_on_purpose import outcomes_of
from tests.unit.failover.shell_mutants import MUTANTS

# What is broken on purpose may hang until a time-out, and the whole takes half a minute at best.
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return outcomes_of("tests.unit.failover.shell_mutants")


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_rule_is_found_out(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name] == pytest.ExitCode.TESTS_FAILED.name, MUTANTS[name].caught_by
