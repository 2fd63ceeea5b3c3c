"""What stands behind ./dev: sets up and runs the project on a machine that has only git and Python.

Standard library only, Python 3.10 or newer: it runs before anything is installed.
"""
