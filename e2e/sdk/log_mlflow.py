"""Trains two small models and registers them with the MLflow at MLFLOW_TRACKING_URI,
with all that MLflow's registry says of a model."""

import mlflow
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

NAME = "Iris Kinds"
data = load_iris()
x, y = data.data[:, 2:], data.target
client = MlflowClient()
client.create_registered_model(NAME, tags={"team": "botany", "Upper Case": "x"}, description="# Iris\nThree kinds.")
for c in (1.0, 0.1):
    with mlflow.start_run() as run:
        model = LogisticRegression(max_iter=1000, C=c).fit(x, y)
        mlflow.log_param("C", c)
        mlflow.log_metric("accuracy", model.score(x, y))
        info = mlflow.sklearn.log_model(
            model, name="model", signature=infer_signature(x, model.predict(x)), serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
        client.create_model_version(NAME, info.model_uri, run_id=run.info.run_id, model_id=info.model_id, await_creation_for=0)
client.update_model_version(NAME, "1", "the first one")
client.set_model_version_tag(NAME, "1", "checked", "yes")
client.set_registered_model_alias(NAME, "champion", "2")

# What cannot be served here: a function of one's own.
with mlflow.start_run():
    info = mlflow.pyfunc.log_model(name="model", python_model=lambda model_input: model_input, pip_requirements=["mlflow"])
client.create_registered_model("Odd")
client.create_model_version("Odd", info.model_uri, model_id=info.model_id, await_creation_for=0)
