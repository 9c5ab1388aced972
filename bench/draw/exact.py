"""Elementary functions of arrays that give the same bits on every processor.

NumPy computes exp, sin and others with the vector instructions of the processor, so their last bits
differ between processors, and sometimes a grey level with them. The functions here add, subtract,
multiply and divide in float64, each rounded as IEEE 754 says. Their relative error is below 1e-14,
and for float32 they return the nearest float32, apart from rare ties.
"""

import math
from functools import reduce
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]
Number = TypeVar("Number", float, Array)

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)  # sum is pi / 2
_EXP = [1 / math.factorial(n) for n in range(14)]
_SIN = [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)]
_COS = [(-1) ** n / math.factorial(2 * n) for n in range(10)]
_LOG = [2 / (2 * n + 1) for n in range(12)]
_ARCTAN = [(-1) ** n / (2 * n + 1) for n in range(22)]


@overload
def exp(x: float) -> float: ...
@overload
def exp(x: Array) -> Array: ...
def exp(x: float | Array) -> float | Array:
    """Return e to the power of `x`, of the shape and float type of `x`; 0 below -708."""
    if isinstance(x, float):  # one number: plain Python is ten times as fast
        near = min(max(x, -750.0), 709.0)
        power_of_2 = round(near * _LOG2E)
        left = (near - power_of_2 * _LN2_HIGH) - power_of_2 * _LN2_LOW
        return np.float64(0.0 if x < -708 else math.ldexp(_polynomial(_EXP, left), power_of_2))
    wide = np.clip(np.asarray(x, np.float64), -750, 709)
    twos = np.rint(wide * _LOG2E)
    rest = (wide - twos * _LN2_HIGH) - twos * _LN2_LOW
    whole = np.ldexp(_polynomial(_EXP, rest), twos.astype(np.int32))
    return _like(x, np.where(wide < -708, 0.0, whole))


@overload
def log(x: float) -> float: ...
@overload
def log(x: Array) -> Array: ...
def log(x: float | Array) -> float | Array:
    """Return the natural logarithm of `x` above 0, of the shape and float type of `x`."""
    part, twos = np.frexp(np.asarray(x, np.float64))
    small = part < math.sqrt(0.5)
    part, twos = np.where(small, 2 * part, part), twos - small
    ratio = (part - 1) / (part + 1)
    rest = ratio * _polynomial(_LOG, ratio * ratio) + twos * _LN2_LOW
    return _like(x, twos * _LN2_HIGH + rest)


@overload
def power(x: float, exponent: float) -> float: ...
@overload
def power(x: Array, exponent: float) -> Array: ...
def power(x: float | Array, exponent: float) -> float | Array:
    """Return `x` of 0 or more to the power of `exponent` above 0, of the type of `x`."""
    wide = np.asarray(x, np.float64)
    zero = wide == 0
    return _like(x, np.where(zero, 0.0, exp(float(exponent) * log(np.where(zero, 1.0, wide)))))


@overload
def sin(x: float) -> float: ...
@overload
def sin(x: Array) -> Array: ...
def sin(x: float | Array) -> float | Array:
    """Return the sine of `x` in radians, below 1e6, of the shape and float type of `x`."""
    return _like(x, _wave(x, 0))


@overload
def cos(x: float) -> float: ...
@overload
def cos(x: Array) -> Array: ...
def cos(x: float | Array) -> float | Array:
    """Return the cosine of `x` in radians, below 1e6, of the shape and float type of `x`."""
    return _like(x, _wave(x, 1))


@overload
def arctan2(y: float, x: float) -> float: ...
@overload
def arctan2(y: Array, x: Array) -> Array: ...
def arctan2(y: float | Array, x: float | Array) -> float | Array:
    """Return the angle of (x, y) in radians, in [-pi, pi], of the type of `y`; 0 at (0, 0)."""
    up, right = np.asarray(y, np.float64), np.asarray(x, np.float64)
    short = np.minimum(np.abs(up), np.abs(right))
    long = np.maximum(np.abs(up), np.abs(right))
    ratio = short / np.where(long == 0, 1.0, long)
    steep = ratio > math.sqrt(2) - 1
    ratio = np.where(steep, (ratio - 1) / (ratio + 1), ratio)
    angle = ratio * _polynomial(_ARCTAN, ratio * ratio) + np.where(steep, math.pi / 4, 0.0)
    angle = np.where(np.abs(up) > np.abs(right), math.pi / 2 - angle, angle)
    angle = np.where(right < 0, math.pi - angle, angle)
    return _like(y, np.where(up < 0, -angle, angle))


@overload
def hypot(x: float, y: float) -> float: ...
@overload
def hypot(x: Array, y: Array) -> Array: ...
def hypot(x: float | Array, y: float | Array) -> float | Array:
    """Return the length of (x, y), of the float type of `x`."""
    right, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return _like(x, np.sqrt(right * right + up * up))


def gaussian_filter(field: Array, sigma: float | tuple[float, ...]) -> Array:
    """Return `field` blurred along each axis, as `scipy.ndimage.gaussian_filter` does.

    Args:
        field: float array of any shape.
        sigma: standard deviation in px, one for all axes or one for each; 0 leaves an axis as is.
    """
    each = sigma if isinstance(sigma, tuple) else (sigma,) * field.ndim
    for axis, width in enumerate(each):
        if width > 1e-15:
            reach = int(4 * width + 0.5)
            weights = exp(-0.5 / (width * width) * np.arange(-reach, reach + 1.0) ** 2)
            total = reduce(lambda a, b: a + b, weights.tolist())
            field = ndimage.correlate1d(field, weights / total, axis)
    return field


def _wave(x: float | Array, quarters: int) -> Any:
    """Return the sine of `x` plus some quarters of a turn, in float64."""
    if isinstance(x, float):
        number = round(x * (2 / math.pi))
        left = x
        for part in _HALF_PI:
            left -= number * part
        sign = -1 if (number + quarters) % 4 >= 2 else 1
        if (number + quarters) % 2:
            return np.float64(sign * _polynomial(_COS, left * left))
        return np.float64(sign * left * _polynomial(_SIN, left * left))
    wide = np.asarray(x, np.float64)
    turns = np.rint(wide * (2 / math.pi))
    rest = reduce(lambda left, part: left - turns * part, _HALF_PI, wide)
    quarter = turns.astype(np.int64) + quarters
    value = np.where(
        quarter % 2 == 1,
        _polynomial(_COS, rest * rest),
        rest * _polynomial(_SIN, rest * rest),
    )
    return np.where(quarter % 4 >= 2, -value, value)


def _polynomial(coefficients: list[float], x: Number) -> Number:
    """Return the sum of coefficients times powers of `x`, from the constant one."""
    total = x * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        total += coefficient
        total *= x
    total += coefficients[0]
    return total


def _like(x: float | Array, value: Any) -> Any:
    """Return `value` as float32 if `x` is a float32 array, else as float64."""
    return value.astype(np.float32) if getattr(x, "dtype", None) == np.float32 else value
