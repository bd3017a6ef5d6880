"""Powers, matrix products and homogeneous transforms. The notes name them and derive no gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.gradients import blocks
from bench.gradients.entry import Case, Entry


def _power_cases(rng: np.random.Generator) -> Iterator[Case]:
    away = rng.uniform(0.5, 2, (5, 3)) * rng.choice([-1.0, 1.0], (5, 3))
    for name, shape, p in (("batch of 1, 1 feature", (1, 1), 2), ("square", (4, 4), 3), ("odd", (7, 3), 6)):
        yield Case(f"{name}, p = {p}", {"x": rng.standard_normal(shape), "p": np.array(p)})
    for name, x, powers in (
        ("at 0", np.array([[0.0, 2.0, -1.0]]), (0, 1, 2)),
        ("away from 0", away, (-1, -4)),
        ("large", 1e3 * away, (5, -3)),
    ):
        for p in powers:
            yield Case(f"{name}, p = {p}", {"x": x, "p": np.array(p)}, "extreme" if name == "large" else "regular")


def _dot_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, a, b in (
        ("1 x 1", (1, 1), (1, 1)),
        ("one row", (1, 3), (3, 2)),
        ("square", (3, 3), (3, 3)),
        ("odd", (5, 3), (3, 7)),
        ("matrix and vector", (4, 3), (3,)),
        ("vector and row", (4,), (1, 3)),
    ):
        yield Case(name, {"A": rng.standard_normal(a), "B": rng.standard_normal(b)})
    large = {"A": 1e3 * rng.standard_normal((3, 4)), "B": 1e3 * rng.standard_normal((4, 2))}
    yield Case("large", large, kind="extreme")


def _torch_dot(t: dict[str, Tensor]) -> Tensor:
    a, b = (t[name].unsqueeze(1) if t[name].ndim == 1 else t[name] for name in "AB")
    return a @ b


def _rotation_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, shape in (("one angle", ()), ("batch of 1", (1,)), ("square", (3, 3)), ("odd", (5, 2))):
        yield Case(name, {"degrees": rng.uniform(-180, 180, shape)})
    yield Case("quarter turns", {"degrees": np.array([0.0, 90.0, -90.0, 180.0, 360.0])})
    yield Case("many turns", {"degrees": rng.uniform(-1e4, 1e4, 6)}, kind="extreme")


def _torch_rotation(t: dict[str, Tensor]) -> Tensor:
    angle = torch.deg2rad(t["degrees"])
    cos, sin = torch.cos(angle), torch.sin(angle)
    return _torch_matrices([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def _torch_matrices(entries: list[list[Tensor | int]]) -> Tensor:
    like = next(entry for row in entries for entry in row if isinstance(entry, Tensor))
    rows = [torch.stack([torch.ones_like(like) * entry for entry in row], dim=-1) for row in entries]
    return torch.stack(rows, dim=-2)


def _pairs(rng: np.random.Generator, x: str, y: str) -> Iterator[Case]:
    for name, shape in (("one", ()), ("batch of 1", (1,)), ("square", (3, 3)), ("odd", (5, 2))):
        yield Case(name, {x: rng.standard_normal(shape), y: rng.standard_normal(shape)})
    yield Case("large", {x: 1e3 * rng.standard_normal(4), y: 1e3 * rng.standard_normal(4)}, kind="extreme")


def _plane_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, n in (("batch of 1", 1), ("square", 2), ("odd", 7)):
        yield Case(name, {"points": rng.standard_normal((n, 2))})


def _homogeneous_cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, n in (("batch of 1", 1), ("square", 3), ("odd", 7)):
        yield Case(name, {"points": np.hstack([rng.standard_normal((n, 2)), rng.uniform(0.5, 2, (n, 1))])})
    far = np.hstack([1e3 * rng.standard_normal((4, 2)), np.array([[1e-3], [-1e-3], [1e3], [-1.0]])])
    yield Case("near infinity", {"points": far}, kind="extreme")


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id="power",
        title="integer power",
        formula=r"x^p,\quad p \text{ an integer}",
        corrected_latex=r"\frac{\partial L}{\partial x} = p\,x^{p-1}\,g",
        forward=lambda i: blocks.power(i["x"], int(i["p"])),
        corrected=lambda i, g: {"x": blocks.power_gradient(i["x"], int(i["p"]), g)},
        torch=lambda t: torch.pow(t["x"], t["p"]),
        cases=_power_cases,
        targets=(blocks.power_gradient,),
    ),
    Entry(
        id="dot",
        title="matrix product",
        formula=r"AB",
        corrected_latex=r"\frac{\partial L}{\partial A} = g B^{T},\quad \frac{\partial L}{\partial B} = A^{T} g",
        forward=lambda i: blocks.dot(i["A"], i["B"]),
        corrected=lambda i, g: dict(zip("AB", blocks.dot_gradient(i["A"], i["B"], g), strict=True)),
        torch=_torch_dot,
        wrt=("A", "B"),
        cases=_dot_cases,
        targets=(blocks.dot_gradient,),
    ),
    Entry(
        id="rotation",
        title="homogeneous 2-D rotation by degrees",
        formula=r"R(\theta) = \begin{pmatrix} \cos\theta & -\sin\theta & 0 \\ \sin\theta & \cos\theta & 0 \\"
        r" 0 & 0 & 1 \end{pmatrix}",
        corrected_latex=r"\frac{\partial R}{\partial \theta} = \frac{\pi}{180} \begin{pmatrix} -\sin\theta &"
        r" -\cos\theta & 0 \\ \cos\theta & -\sin\theta & 0 \\ 0 & 0 & 0 \end{pmatrix}",
        forward=lambda i: blocks.rotation(i["degrees"]),
        corrected=lambda i, g: {"degrees": blocks.rotation_gradient(i["degrees"], g)},
        torch=_torch_rotation,
        wrt=("degrees",),
        cases=_rotation_cases,
        targets=(blocks.rotation_gradient,),
    ),
    Entry(
        id="translation",
        title="homogeneous 2-D translation",
        formula=r"T(t_x, t_y) = \begin{pmatrix} 1 & 0 & t_x \\ 0 & 1 & t_y \\ 0 & 0 & 1 \end{pmatrix}",
        corrected_latex=r"\frac{\partial L}{\partial t_x} = g_{13},\quad \frac{\partial L}{\partial t_y} = g_{23}",
        forward=lambda i: blocks.translation(i["tx"], i["ty"]),
        corrected=lambda _, g: dict(zip(("tx", "ty"), blocks.translation_gradient(g), strict=True)),
        torch=lambda t: _torch_matrices([[1, 0, t["tx"]], [0, 1, t["ty"]], [0, 0, 1]]),
        wrt=("tx", "ty"),
        cases=lambda rng: _pairs(rng, "tx", "ty"),
        targets=(blocks.translation_gradient,),
    ),
    Entry(
        id="scale",
        title="homogeneous 2-D scaling",
        formula=r"S(s_x, s_y) = \begin{pmatrix} s_x & 0 & 0 \\ 0 & s_y & 0 \\ 0 & 0 & 1 \end{pmatrix}",
        corrected_latex=r"\frac{\partial L}{\partial s_x} = g_{11},\quad \frac{\partial L}{\partial s_y} = g_{22}",
        forward=lambda i: blocks.scale(i["sx"], i["sy"]),
        corrected=lambda _, g: dict(zip(("sx", "sy"), blocks.scale_gradient(g), strict=True)),
        torch=lambda t: _torch_matrices([[t["sx"], 0, 0], [0, t["sy"], 0], [0, 0, 1]]),
        wrt=("sx", "sy"),
        cases=lambda rng: _pairs(rng, "sx", "sy"),
        targets=(blocks.scale_gradient,),
    ),
    Entry(
        id="to-homogeneous",
        title="2-D points to homogeneous ones",
        formula=r"(x, y) \mapsto (x, y, 1)",
        corrected_latex=r"\frac{\partial L}{\partial (x, y)} = (g_1, g_2)",
        forward=lambda i: blocks.to_homogeneous(i["points"]),
        corrected=lambda _, g: {"points": blocks.to_homogeneous_gradient(g)},
        torch=lambda t: torch.nn.functional.pad(t["points"], (0, 1), value=1.0),
        wrt=("points",),
        cases=_plane_cases,
        targets=(blocks.to_homogeneous_gradient,),
    ),
    Entry(
        id="from-homogeneous",
        title="homogeneous points to 2-D ones",
        formula=r"(x, y, w) \mapsto \left(\frac{x}{w}, \frac{y}{w}\right)",
        corrected_latex=r"\frac{\partial L}{\partial (x, y, w)} = \left(\frac{g_1}{w}, \frac{g_2}{w},"
        r" -\frac{g_1 x + g_2 y}{w^2}\right)",
        forward=lambda i: blocks.from_homogeneous(i["points"]),
        corrected=lambda i, g: {"points": blocks.from_homogeneous_gradient(i["points"], g)},
        torch=lambda t: t["points"][:, :2] / t["points"][:, 2:],
        wrt=("points",),
        cases=_homogeneous_cases,
        targets=(blocks.from_homogeneous_gradient,),
    ),
)
