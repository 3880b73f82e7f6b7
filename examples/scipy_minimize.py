"""scipy.optimize.minimize(jac=True) on a real fit: a gamma regression of diabetes progression.

The progression of 442 patients (scikit-learn's diabetes data) is positive and skewed, so it gets a
gamma distribution whose mean is exp(intercept + coefficients . measurements). Coefficients and shape
are estimated together by maximum likelihood: the compiled function returns the negative
log-likelihood and its gradient.

    pip install 'staticgrad[demo]'
    python examples/scipy_minimize.py
"""

import time

import numpy as np
from scipy import optimize, stats
from sklearn.datasets import load_diabetes

import staticgrad as sg

measurements, progression = load_diabetes(return_X_y=True)
measurements = (measurements - measurements.mean(0)) / measurements.std(0)

# theta: 10 coefficients, the intercept, log(shape)
theta = sg.placeholder("theta", (12,), dtype="float64")
x = sg.placeholder("x", ("patients", 10), dtype="float64")
y = sg.placeholder("y", ("patients",), dtype="float64")
coefficients, intercept, shape = theta[:10], theta[10], sg.exp(theta[11])

log_mean = x @ coefficients + intercept
log_density = (
    shape * (sg.log(shape) - log_mean)
    + (shape - 1) * sg.log(y)
    - shape * y / sg.exp(log_mean)
    - sg.lgamma(shape)
)
loss = -sg.mean(log_density)
objective = sg.compile([theta, x, y], sg.value_and_grad(loss, theta))

start = np.zeros(12)
start[10] = np.log(progression.mean())
begin = time.perf_counter()
fit = optimize.minimize(objective, start, args=(measurements, progression), jac=True, method="BFGS")
seconds = time.perf_counter() - begin
print(fit.message)
print(f"{fit.nit} iterations, {fit.nfev} evaluations, {seconds * 1e3:.1f} ms")
print("coefficients:", fit.x[:10].round(3))
print(f"intercept {fit.x[10]:.3f}, shape {np.exp(fit.x[11]):.3f}")
assert fit.success

# SciPy's density at the same point
mean, k = np.exp(measurements @ fit.x[:10] + fit.x[10]), np.exp(fit.x[11])
expected = -stats.gamma.logpdf(progression, k, scale=mean / k).mean()
print(f"negative log-likelihood {fit.fun:.12f}, by scipy.stats {expected:.12f}")
assert np.isclose(fit.fun, expected, rtol=1e-12)
