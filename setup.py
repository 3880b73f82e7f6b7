"""The packages: all that is in staticgrad, and the folder bench under a name of its own.

pyproject.toml can either have packages found or have them listed; this needs both.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["staticgrad*"]),
        "staticgrad_bench",
        *(f"staticgrad_bench.{name}" for name in find_packages("bench")),
    ],
    package_dir={"staticgrad_bench": "bench"},
)
