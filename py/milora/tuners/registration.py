"""Registers milora's methods with PEFT; the one place that touches PEFT's registry."""

from __future__ import annotations

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType, register_peft_method

from milora.tuners.milora import PEFT_TYPE_NAME, MiloraConfig, MiloraModel


def register() -> None:
    """Makes PEFT know ``MILORA_PROMPT``; a second call changes nothing."""
    _add_enum_member(PEFT_TYPE_NAME)
    if PeftType[PEFT_TYPE_NAME] not in PEFT_TYPE_TO_TUNER_MAPPING:
        register_peft_method(name=PEFT_TYPE_NAME.lower(), config_cls=MiloraConfig, model_cls=MiloraModel)


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
