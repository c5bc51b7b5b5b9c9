"""The router's learned activation: a rational function that starts as GeLU (the paper, section 3.4).

Ra(x) = Σ_{j=0..6} a_j x^j / (1 + |Σ_{i=1..5} b_i x^i|)
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

NUMERATOR_DEGREE = 6
DENOMINATOR_DEGREE = 5
NUM_COEFFICIENTS = NUMERATOR_DEGREE + 1 + DENOMINATOR_DEGREE

FIT_INTERVAL = (-10.0, 10.0)
"""The interval on which the initial coefficients fit GeLU."""

FIT_MAX_ERROR = 0.006
"""Upper bound of |Ra(x) - GeLU(x)| on :data:`FIT_INTERVAL` for the initial coefficients."""

FIT_GROWTH = 0.013
"""Outside the interval |Ra(x) - GeLU(x)| stays below ``FIT_GROWTH * x²`` for the initial coefficients."""

_NUM_FIT_POINTS = 2001
_REWEIGHTED_STEPS = 60
_GAUSS_NEWTON_STEPS = 50
_MAX_HALVINGS = 20


def rational(inputs: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """Evaluates Ra elementwise.

    The denominator is at least 1, so there is no pole whatever the coefficients.

    Args:
        inputs: Any shape, in the router's precision.
        numerator: a_0 .. a_6.
        denominator: b_1 .. b_5.
    """
    above = torch.zeros_like(inputs) + numerator[-1]
    for coefficient in reversed(numerator[:-1].unbind()):
        above = above * inputs + coefficient
    below = torch.zeros_like(inputs) + denominator[-1]
    for coefficient in reversed(denominator[:-1].unbind()):
        below = below * inputs + coefficient
    return above / (1 + (below * inputs).abs())


@functools.cache
def gelu_coefficients() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fits Ra to GeLU by least squares in float64 on :data:`FIT_INTERVAL`: (a_0 .. a_6), (b_1 .. b_5).

    GeLU is x/2 plus an even function E, so the fit is made for E ≈ (a_2 x² + a_4 x⁴ + a_6 x⁶) / (1 + b_2 x² + b_4 x⁴)
    on the right half; then a_1 = 1/2, a_3 = b_2 / 2, a_5 = b_4 / 2 give the odd part exactly. b_2 and b_4 come out
    positive, so the absolute value never bends the curve at the start.

    On the interval the error is at most :data:`FIT_MAX_ERROR`. Outside it grows like (a_6 / b_4) x², at most
    :data:`FIT_GROWTH` x²: at ±24 Ra is 24.8 and 0.8, at ±64 it is 90.6 and 26.6. A pooled vector of normalised states
    is at most √hidden_size (64 for 4096) in any dimension, so the router's input stays in that range; raw states do
    not, and Ra then grows with the square.
    """
    points = np.linspace(0.0, FIT_INTERVAL[1], _NUM_FIT_POINTS)
    target = np.array([0.5 * x * math.erf(x / math.sqrt(2.0)) for x in points])
    # The fit runs in (x / end)², so that its columns are of one size.
    squares = (points / FIT_INTERVAL[1]) ** 2
    fitted = _gauss_newton(squares, target, _reweighted_fit(squares, target))
    end = FIT_INTERVAL[1]
    a_2, a_4, a_6, b_2, b_4 = (float(c) / end**power for c, power in zip(fitted, (2, 4, 6, 2, 4), strict=True))
    return (0.0, 0.5, a_2, b_2 / 2, a_4, b_4 / 2, a_6), (0.0, b_2, 0.0, b_4, 0.0)


def _reweighted_fit(squares: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solves P - E Q = E, linear in the coefficients, weighted by the last iterate's 1/Q."""
    coefficients = np.zeros(5)
    below = np.ones_like(squares)
    for _ in range(_REWEIGHTED_STEPS):
        columns = np.stack(
            [squares, squares**2, squares**3, -target * squares, -target * squares**2],
            axis=1,
        )
        coefficients = np.linalg.lstsq(columns / below[:, None], target / below, rcond=None)[0]
        below = 1 + coefficients[3] * squares + coefficients[4] * squares**2
    return coefficients


def _gauss_newton(squares: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Brings the reweighted fit to the least-squares optimum, with step halving."""

    def parts(c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        above = c[0] * squares + c[1] * squares**2 + c[2] * squares**3
        below = 1 + c[3] * squares + c[4] * squares**2
        return above / below - target, above, below

    coefficients = start
    residual, above, below = parts(coefficients)
    for _ in range(_GAUSS_NEWTON_STEPS):
        slope = -above / below**2
        jacobian = np.stack(
            [squares / below, squares**2 / below, squares**3 / below, slope * squares, slope * squares**2],
            axis=1,
        )
        step = np.linalg.lstsq(jacobian, -residual, rcond=None)[0]
        for halving in range(_MAX_HALVINGS):
            candidate = coefficients + step / 2**halving
            new_residual, new_above, new_below = parts(candidate)
            if new_residual @ new_residual < residual @ residual:
                break
        else:
            return coefficients
        coefficients, residual, above, below = candidate, new_residual, new_above, new_below
    return coefficients
