"""Minimax polynomials behind src/numeric/special.rs, found by Remez exchange in 50 digits.

    pip install mpmath && python special_coefficients.py

prints, for f32 and f64, the constants to paste, each with the relative error that it leaves in the function after its
coefficients are rounded. Coefficients run from the constant term up.
"""

import struct

from mpmath import cos, exp, factorial, linspace, log, lu_solve, matrix, mp, mpf, nstr, pi, polyval, sqrt

mp.dps = 50


def remez(target, weight, lo, hi, terms):
    """The polynomial q with `terms` coefficients that minimizes max |weight (q - target)| on [lo, hi]."""
    nodes = [(lo + hi) / 2 - (hi - lo) / 2 * cos(pi * i / terms) for i in range(terms + 1)]
    grid = linspace(lo, hi, 100 * terms)
    for _ in range(8):
        # weight (q - target) = +e, -e, +e, ... at the nodes
        a, b = matrix(terms + 1, terms + 1), matrix(terms + 1, 1)
        for i, t in enumerate(nodes):
            for j in range(terms):
                a[i, j] = t**j
            a[i, terms] = (-1) ** i / weight(t)
            b[i] = target(t)
        q = list(lu_solve(a, b))[:terms]
        # the next nodes: the largest error of each run of one sign
        errors = [weight(t) * (polyval(q[::-1], t) - target(t)) for t in grid]
        runs = [[]]
        for t, e in zip(grid, errors):
            if runs[-1] and runs[-1][-1][1] * e < 0:
                runs.append([])
            runs[-1].append((t, e))
        assert len(runs) == terms + 1, (len(runs), terms)
        nodes = [max(run, key=lambda te: abs(te[1]))[0] for run in runs]
    return q


def rounded(x, code):
    """x to the nearest f32 ('f') or f64 ('d')."""
    return struct.unpack(code, struct.pack(code, float(x)))[0]


def shortest(x, code):
    """The shortest decimal that reads back as x."""
    for digits in range(1, 18):
        text = f"{x:.{digits}g}"
        if rounded(float(text), code) == x:
            return text if any(c in text for c in ".e") else text + ".0"


def taylor(term):
    """The series sum of term(k) t^k: the closed forms cancel near 0."""
    coefficients = [term(k) for k in range(40)][::-1]
    return lambda t: polyval(coefficients, t)


# Each: name, target q, the weight that turns the error of q into the relative error of the function, interval.
# TINY keeps the weight from vanishing at 0, where the terms written out are the whole function.
TINY = mpf(10) ** -25
FUNCTIONS = [
    # e^r = 1 + r + r^2 q(r)
    ("EXP", taylor(lambda k: 1 / factorial(k + 2)), lambda r: r * r / exp(r) + TINY, -log(2) / 2, log(2) / 2),
    # ln((1 + s)/(1 - s)) = 2 s + s z q(z), z = s^2; (1 + s)/(1 - s) from sqrt(1/2) to sqrt(2)
    ("LN", taylor(lambda k: mpf(2) / (2 * k + 3)), lambda z: z / 2 + TINY, mpf(0), (3 - 2 * sqrt(2)) ** 2),
    # sin r = r + r z q(z), z = r^2
    ("SIN", taylor(lambda k: (-1) ** (k + 1) / factorial(2 * k + 3)), lambda z: z + TINY, mpf(0), (pi / 4) ** 2),
    # cos r = 1 - z/2 + z^2 q(z)
    ("COS", taylor(lambda k: (-1) ** k / factorial(2 * k + 4)), lambda z: z * z + TINY, mpf(0), (pi / 4) ** 2),
]
TERMS = {"f": {"EXP": 5, "LN": 4, "SIN": 3, "COS": 3}, "d": {"EXP": 10, "LN": 7, "SIN": 6, "COS": 6}}

for code, kind in ("f", "f32"), ("d", "f64"):
    print(f"// {kind}")
    for name, target, weight, lo, hi in FUNCTIONS:
        q = [rounded(c, code) for c in remez(target, weight, lo, hi, TERMS[code][name])]
        worst = max(abs(weight(t) * (polyval(q[::-1], t) - target(t))) for t in linspace(lo, hi, 1000))
        print(f"const {name}: [{kind}; {len(q)}] = [{', '.join(shortest(c, code) for c in q)}]; // {nstr(worst, 2)}")
    for name, value in ("LN_2", log(2)), ("FRAC_PI_2", pi / 2):
        high = rounded(value, code)
        print(f"const {name}_LO: {kind} = {shortest(rounded(value - mpf(high), code), code)};")
