"""Regression on a table: scaling, a loss that forgives outliers, and an end at the right time."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp as fm
from fastmlp.sklearn import MLPRegressor

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

# The estimator sets a tenth of the samples aside, and keeps the weights of the epoch that did best
# on them. Networks want numbers of about unit size, on both sides.
regressor = MLPRegressor(
    "huber",
    (64, 32),
    activation="silu",
    optimizer="adamw",
    learning_rate_init=0.003,
    batch_size=32,
    dropout=0.1,
    max_iter=300,
    early_stopping=True,
    n_iter_no_change=30,
    random_state=0,
)
model = TransformedTargetRegressor(
    make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
)
model.fit(X_train, y_train)
fitted = model.regressor_[-1]
print(f"{fitted.n_iter_} epochs, best r2 on those set aside {fitted.best_validation_score_:.2f}")
print(f"test r2 {model.score(X_test, y_test):.2f}")
assert model.score(X_test, y_test) > 0.2

# The same with the network itself, its own validation set, and a measure of one's own.
scaler, middle, spread = StandardScaler().fit(X_train), y_train.mean(), y_train.std()


def half_right(true, predicted):
    """Return the share of predictions that are within half a standard deviation."""
    return np.mean(np.abs(true - predicted) < 0.5)


fit, held_out = slice(0, 260), slice(260, None)
features, targets = scaler.transform(X_train), (y_train - middle) / spread
net = fm.MLP([10, 64, 32, 1], ["silu", "silu", "identity"], loss="huber", seed=0)
history = net.fit(
    features[fit],
    targets[fit],
    epochs=300,
    lr=fm.schedules.WarmUp(fm.schedules.Cosine(0.003), epochs=2),
    optimizer="adamw",
    dropout=0.1,
    validation_data=(features[held_out], targets[held_out]),
    eval_metric=half_right,
    early_stopping=fm.EarlyStopping(patience=30),
)
print(history.table(max_rows=8))
predictions = net.predict(scaler.transform(X_test)) * spread + middle
print(f"best epoch {history.best_epoch}, test r2 {r2_score(y_test, predictions):.2f}")
