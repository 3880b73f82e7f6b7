"""Tests check the graph after every pass, and keep generated code out of the user's cache."""

import atexit
import os
import shutil
import tempfile

folder = tempfile.mkdtemp(prefix="staticgrad-tests-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
os.environ["STATICGRAD_CACHE_DIR"] = folder
os.environ["STATICGRAD_VERIFY"] = "1"
