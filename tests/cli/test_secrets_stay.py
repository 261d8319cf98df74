"""What can't be sent is named without its value: it may be a key."""

import pytest

from tests.cli.conftest import Onejob


@pytest.mark.parametrize("key", ["sk-1234\r", "sk-1234\nX: y", "sk-1234é\u4e00"])
def test_a_key_that_can_not_be_sent_is_not_shown(onejob: Onejob, hello: str, key: str) -> None:
    answer = onejob("run", hello, "--no-wait", env={"ONEJOB_INFERENCE_KEY": key})
    assert answer.exit_code == 2, answer.output
    assert "header Authorization" in answer.stderr
    assert "1234" not in answer.output + answer.stderr
    assert "Traceback" not in answer.stderr
