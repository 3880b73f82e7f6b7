"""Tests check the graph after every pass, and keep generated code out of the user's cache."""

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

folder = tempfile.mkdtemp(prefix="staticgrad-tests-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
os.environ["STATICGRAD_CACHE_DIR"] = folder
os.environ["STATICGRAD_VERIFY"] = "1"

# other work on the machine is no fault of a test
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the kept files of generated code anew"
    )
