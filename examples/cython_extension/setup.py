"""Build the extension: nothing is linked, the functions come from the installed fastmlp."""

from setuptools import Extension, setup

import fastmlp as fm

setup(
    ext_modules=[Extension("scoring", ["scoring.pyx"], include_dirs=[fm.get_include()])],
    py_modules=[],
)
