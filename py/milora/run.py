"""``python -m milora.run <module or script> args…``: runs a program that does not import milora as if it did.

Adapters of type ``MILORA_PROMPT`` load in it as any PEFT adapter, and lm-evaluation-harness has the model ``milora``.
``__main__``, ``sys.argv``, ``sys.path``, the exit code and tracebacks are those of the program run directly.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from milora.tuners import register

_USAGE = "usage: python -m milora.run <module or script> [arguments …]"
_NO_SOURCE = (".pyc", ".pyz", ".zip")
_HARNESS = ("lm_eval", "lm-eval")
_RUNNERS = (__file__, runpy.__file__, "<frozen runpy>")


def main(arguments: Sequence[str]) -> None:
    """Runs the program; what it raises, ``SystemExit`` among it, goes on to the caller."""
    if arguments and arguments[0] == "-m":
        arguments = arguments[1:]
        is_script = False
    else:
        is_script = bool(arguments) and _is_script(arguments[0])
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    register()
    target = arguments[0]
    sys.argv = list(arguments)
    sys.excepthook = _excepthook
    if is_script:
        _run_script(target)
    else:
        _run_module(target)


def _is_script(target: str) -> bool:
    return target.endswith(".py") or os.sep in target or Path(target).is_file()


def _run_script(target: str) -> None:
    path = Path(target)
    if not path.exists():
        raise _refused(f"can't open file {str(path.absolute())!r}: [Errno 2] No such file or directory", 2)
    if path.is_dir() or path.suffix in _NO_SOURCE:
        runpy.run_path(target, run_name="__main__")
        return
    # With -P or PYTHONSAFEPATH Python put nothing there, so nothing is to be replaced.
    if not sys.flags.safe_path:
        sys.path[0] = str(path.resolve().parent)
    if path.name in _HARNESS:
        _register_harness_model()
    # Not by runpy, whose __file__ would be as relative as sys.argv[0], and whose __main__ ends before threads do.
    file = str(path.absolute())
    module = ModuleType("__main__")
    module.__file__ = file
    module.__loader__ = SourceFileLoader("__main__", file)
    vars(module).update(__builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = module
    exec(compile(path.read_bytes(), file, "exec", dont_inherit=True), vars(module))


def _run_module(target: str) -> None:
    try:
        found = importlib.util.find_spec(target) is not None
    except (ImportError, ValueError):
        # A parent package that is not there, or a name such as ".x". A parent that fails otherwise says so itself.
        found = False
    if not found:
        raise _refused(f"No module named {target}", 1)
    if target.partition(".")[0] in _HARNESS:
        _register_harness_model()
    runpy.run_module(target, run_name="__main__", alter_sys=True)


def _register_harness_model() -> None:
    # The harness knows only the models of its own process, and looks for no plugins.
    importlib.import_module("milora.lm_eval")


def _refused(message: str, code: int) -> SystemExit:
    print(f"{sys.executable}: {message}", file=sys.stderr)
    return SystemExit(code)


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Python's own, without the frames that lead to the program."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename in _RUNNERS:
        traceback = traceback.tb_next
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)


if __name__ == "__main__":
    main(sys.argv[1:])
