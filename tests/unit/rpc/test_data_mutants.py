"""Each rule of the way of data, broken on purpose, is found out by the quick test that is named."""

import pytest

from tests.broken_on_purpose import outcomes_of
from tests.unit.rpc.data_mutants import MUTANTS

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return outcomes_of("tests.unit.rpc.data_mutants")


@pytest.mark.parametrize("name", MUTANTS)
def test_broken_rule_of_data_is_found_out(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name] == pytest.ExitCode.TESTS_FAILED.name, MUTANTS[name].caught_by
