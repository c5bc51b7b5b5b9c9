"""P-tuning v2: trained soft tokens in front of every layer's keys and values."""

from milora.tuners.p_tuning_v2.config import PTuningV2Config as PTuningV2Config
from milora.tuners.p_tuning_v2.layer import PTuningV2Block as PTuningV2Block
from milora.tuners.p_tuning_v2.model import PTuningV2Model as PTuningV2Model

__all__ = ["PTuningV2Block", "PTuningV2Config", "PTuningV2Model"]
