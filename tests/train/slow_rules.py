"""Labels, selections and losses as slow loops over their definitions: what the tests hold the fast ones against."""

import math
from collections.abc import Iterator

from torch import Tensor

from train.labels import UNKNOWN

Triple = tuple[int, int, int]


def differ(labels: list[int], i: int, j: int) -> bool:
    """Two labels, where each image of unknown kind is one of its own."""
    return i != j and (labels[i] != labels[j] or labels[i] == UNKNOWN)


def valid_pairs(labels: list[int]) -> Iterator[tuple[int, int]]:
    """(a, p)."""
    for a in range(len(labels)):
        for p in range(len(labels)):
            if a != p and labels[a] == labels[p] != UNKNOWN:
                yield a, p


def negatives_of(labels: list[int], a: int) -> list[int]:
    """n of an anchor."""
    return [n for n in range(len(labels)) if labels[n] != labels[a]]


def triplets(rule: str, d: Tensor, labels: list[int], margin: float) -> set[Triple]:
    """What a selection gives, where no two distances are equal."""
    if rule == "batch_hard":
        found = set()
        for a in {a for a, _ in valid_pairs(labels)}:
            positives, others = [p for b, p in valid_pairs(labels) if b == a], negatives_of(labels, a)
            if others:
                found.add((a, max(positives, key=lambda p: float(d[a, p])), min(others, key=lambda n: float(d[a, n]))))
        return found
    found = set()
    for a, p in valid_pairs(labels):
        keep = {
            "all": lambda n, a=a, p=p: True,
            "slide": lambda n, a=a, p=p: not d[a, n] > d[a, p],
            "semihard": lambda n, a=a, p=p: d[a, p] < d[a, n] < d[a, p] + margin,
            "hard": lambda n, a=a, p=p: d[a, n] < d[a, p],
        }[rule]
        fit = [n for n in negatives_of(labels, a) if keep(n)]
        if rule in ("semihard", "hard"):
            fit = sorted(fit, key=lambda n, a=a: float(d[a, n]))[:1]
        found |= {(a, p, n) for n in fit}
    return found


def second_negative(d: Tensor, labels: list[int], triple: Triple) -> int | None:
    """The second negative of a triplet."""
    a, p, n1 = triple
    fit = [n for n in negatives_of(labels, a) if differ(labels, n, n1)]
    if not fit:
        return None
    nearest = min(fit, key=lambda n: float(d[a, n]))
    if not d[a, n1] > d[a, p]:
        return nearest
    beyond = [n for n in fit if d[a, n] > d[a, p]]
    return min(beyond, key=lambda n: float(d[a, n])) if beyond else max(fit, key=lambda n: float(d[a, n]))


def loss(name: str, d: Tensor, chosen: list[tuple[int, ...]], margin: float, second_margin: float) -> float:
    """Mean over (a, p, n1, n2), or (a, p, n) for losses of triplets."""
    terms = []
    for a, p, n, *more in chosen:
        first = max(0.0, float(d[a, p] - d[a, n]) + margin)
        match name:
            case "triplet":
                terms.append(first)
            case "soft_margin":
                terms.append(math.log1p(math.exp(float(d[a, p] - d[a, n]))))
            case "quadruplet":
                terms.append(first + max(0.0, float(d[a, p] - d[a, more[0]]) + margin))
            case "quadruplet_chen":
                terms.append(first + max(0.0, float(d[a, p] - d[n, more[0]]) + second_margin))
    return math.fsum(terms) / len(terms) if terms else 0.0
