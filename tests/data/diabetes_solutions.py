#!/usr/bin/env python3
"""Writes diabetes_solutions.json: the closed forms of the table in NumPy. Needs numpy 2 (`pip install numpy`).

The ten inputs are standardized (mean 0, population deviation 1) and a last column of ones is added, as a problem with `standardize`
and `intercept` has them. OLS is NumPy's least squares; ridge solves (XᵀX + n·l2·I)w = Xᵀt.
"""

import json
import pathlib

import numpy

folder = pathlib.Path(__file__).resolve().parent
table = numpy.loadtxt(folder / "diabetes.csv", delimiter=",", skiprows=1)
inputs, t = table[:, :-1], table[:, -1]
x = numpy.column_stack([(inputs - inputs.mean(axis=0)) / inputs.std(axis=0), numpy.ones(len(t))])

ols, _, rank, _ = numpy.linalg.lstsq(x, t, rcond=None)
solutions = {"numpy": numpy.__version__, "rows": len(t), "rank": int(rank), "ols": ols.tolist(), "ridge": []}
for l2 in (0.01, 1.0):
    ridge = numpy.linalg.solve(x.T @ x + len(t) * l2 * numpy.eye(x.shape[1]), x.T @ t)
    solutions["ridge"].append({"l2": l2, "weights": ridge.tolist()})
(folder / "diabetes_solutions.json").write_text(json.dumps(solutions, indent=1) + "\n")
