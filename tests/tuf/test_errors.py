from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from ledger.domain.errors import TufFailure
from ledger.tuf import errors

ALL = [item for item in vars(errors).values() if inspect.isclass(item) and item.__module__ == errors.__name__]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_can_be_told(error):
    """Each error has a message and a next step over its own fields, and exit code 8."""
    told = error(**dict.fromkeys(inspect.get_annotations(error), "value"))

    assert issubclass(error, TufFailure)
    assert told.exit_code == 8
    assert "{" not in str(told).replace("{pub,sec}", "")
    assert told.render_hint()


def test_errors_are_light():
    """Knowing the errors takes no TUF and no cryptography, so that reading commands stay quick."""
    heavy = "import sys, ledger.tuf.errors; print({'tuf', 'securesystemslib', 'cryptography'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "set()\n"
