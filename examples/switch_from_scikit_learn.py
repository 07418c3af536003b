"""Change one import of a program that uses scikit-learn's MLPClassifier, and see what it gains."""

import warnings
from time import perf_counter

import numpy as np
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp as fm
from fastmlp.sklearn import MLPClassifier  # in place of sklearn.neural_network

warnings.simplefilter("ignore", ConvergenceWarning)
X_train, y_train, X_test, y_test = fm.data.load("digits")

# The same program, the same starting weights; without shuffling also the same batches.
models = {}
for name, cls in (("scikit-learn", neural_network.MLPClassifier), ("fastmlp", MLPClassifier)):
    model = cls((64,), max_iter=30, shuffle=False, random_state=0)
    began = perf_counter()
    model.fit(X_train, y_train)
    print(f"{name}: {model.score(X_test, y_test):.1%} right after {perf_counter() - began:.2f} s")
    models[name] = model
apart = max(
    np.abs(theirs - ours).max()
    for theirs, ours in zip(models["scikit-learn"].coefs_, models["fastmlp"].coefs_, strict=True)
)
print(f"largest difference of two weights: {apart:.0e}")
assert apart < 1e-3

# Pipelines, searches and the rest of scikit-learn take it as they take their own.
pipe = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=40, random_state=0))
search = GridSearchCV(pipe, {"mlpclassifier__alpha": [1e-4, 1e-1]}, cv=2).fit(X_train, y_train)
print(f"search: {search.best_params_}, {search.best_score_:.1%}")

# What scikit-learn's lacks: here an activation for each layer, weights of classes, a validation
# set of one's own that says when to stop, AdamW with a schedule, and float32.
model = MLPClassifier(
    (64, 32),
    activation=["silu", "relu"],
    class_weight="balanced",
    optimizer="adamw",
    learning_rate=fm.schedules.OneCycle(0.01),
    batch_size=32,
    max_iter=30,
    early_stopping=True,
    dtype="float32",
    random_state=0,
)
model.fit(X_train, y_train, validation_data=(X_test, y_test))
print(f"more of it: {model.score(X_test, y_test):.1%} right, best of {model.n_iter_} epochs")
print(model.network_.summary())
