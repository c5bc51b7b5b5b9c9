"""Registers milora's methods with PEFT; the one place that touches PEFT's registry."""

from __future__ import annotations

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType, register_peft_method

from milora.tuners.methods import METHODS


def register() -> None:
    """Makes PEFT know the types of milora's methods; a second call changes nothing."""
    for name, method in METHODS.items():
        if method.tuner is None:
            continue
        _add_enum_member(name)
        if PeftType[name] not in PEFT_TYPE_TO_TUNER_MAPPING:
            register_peft_method(name=name.lower(), config_cls=method.config, model_cls=method.tuner)


def _add_enum_member(name: str) -> None:
    """Adds a member to PEFT's enum of types.

    ``register_peft_method`` takes only members, and an enum with members cannot be subclassed.
    """
    if name in PeftType.__members__:
        return
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    vars(member).update(__objclass__=PeftType, _sort_order_=len(PeftType.__members__))
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    type.__setattr__(PeftType, name, member)
