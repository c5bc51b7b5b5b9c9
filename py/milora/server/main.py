"""What Node calls: :func:`start` once, then :func:`run_op` for each operation, and the handles."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from milora.errors import MiloraError
from milora.server import dispatch, envelope, handles, output, parent, wire
from milora.server.call import Call
from milora.server.cancellation import cancellation
from milora.server.transport import Transport

_transport: Transport | None = None


def start(settings_text: str) -> str:
    """Hardens this process; called once, first. What fails in here comes as pythonia's own error.

    Args:
        settings_text: JSON ``{flag, parent}``: path of the one-byte cancel file, Node's process id. How Node is
            watched is in ``MILORA_PARENT_WATCH`` (:mod:`milora.server.parent`).

    Returns:
        JSON ``{pid, version, executable}``.
    """
    global _transport
    settings: dict[str, Any] = json.loads(settings_text)
    # A Ctrl-C reaches the whole process group; Node decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent.die_with_parent(settings["parent"], os.environ.get("MILORA_PARENT_WATCH", "auto"))
    transport = Transport(sys.modules["__main__"])
    transport.harden()
    cancellation.open(settings["flag"])
    transport.after_message = output.capture(transport.channel.emit)
    _transport = transport
    version = ".".join(map(str, sys.version_info[:3]))
    return json.dumps({"pid": os.getpid(), "version": version, "executable": sys.executable})


def load_extensions(modules_text: str) -> None:
    """Adds the operations of other modules; a JSON list of names."""
    dispatch.load_extensions(json.loads(modules_text))


def run_op(name: str, payload_text: str, call_id: int) -> str:
    """Runs an operation; gives the text of an envelope (:mod:`milora.server.envelope`) and never raises."""
    assert _transport is not None
    channel = _transport.channel
    outer, channel.call_id = channel.call_id, call_id
    try:
        _refuse_nested(name)
        payload = wire.loads(payload_text)
        call = Call(channel.emit, cancellation.flag)
        with cancellation.running():
            call.check()
            value = dispatch.run(name, payload, call)
        return envelope.of_value(value)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in an operation is an answer too
        return envelope.of_error(error)
    finally:
        _transport.after_message()
        channel.call_id = outer


def adopt(value: Any) -> str:
    """Keeps a raw object for typed operations; gives its id."""
    return handles.adopt(value)


def expose(identifier: str) -> Any:
    """The raw object of an id."""
    return handles.get(identifier)


def release(identifier: str) -> None:
    """Lets go of an adopted object."""
    handles.release(identifier)


def _refuse_nested(name: str) -> None:
    if _transport is not None and _transport.depth > 1:
        raise MiloraError(
            "bridge/protocol",
            f"The operation {name!r} was called while Python waits for a JavaScript function.",
            hint="Return from the function first: operations run one at a time.",
        )
