"""Reads and writes the registry by MLflow's own client, with nothing of it
changed. Needs POTERNE_URL, POTERNE_API_KEY and MLFLOW_MODEL_DIR, a directory below
sources.roots with a model that MLflow logged."""

import os

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

os.environ["MLFLOW_TRACKING_TOKEN"] = os.environ["POTERNE_API_KEY"]
url, source = os.environ["POTERNE_URL"], os.environ["MLFLOW_MODEL_DIR"]
client = MlflowClient(tracking_uri=url, registry_uri=url)
NAME = "mlflow-check"


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as e:
        assert e.error_code == code, (e.error_code, e.message)
    else:
        raise AssertionError(f"{call} was not refused")


# Models.
made = client.create_registered_model(NAME, tags={"team": "botany"}, description="# Check")
assert (made.name, made.description, made.tags) == (NAME, "# Check", {"team": "botany"}), made
refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, NAME)
refused("INVALID_PARAMETER_VALUE", client.create_registered_model, "No Such Name")
refused("INVALID_PARAMETER_VALUE", client.set_registered_model_tag, NAME, "Upper Case", "x")
refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "absent")
assert client.update_registered_model(NAME, "# Changed").description == "# Changed"
client.set_registered_model_tag(NAME, "stage", "trial")
client.delete_registered_model_tag(NAME, "team")
assert client.get_registered_model(NAME).tags == {"stage": "trial"}
assert [m.name for m in client.search_registered_models("name LIKE 'mlflow-%' AND tags.stage = 'trial'")] == [NAME]
assert [m.name for m in client.search_registered_models(f"name='{NAME}'")] == [NAME]
assert client.search_registered_models("name='absent'") == []
assert NAME in [m.name for m in client.search_registered_models(max_results=1)] or client.search_registered_models(max_results=1).token

# Versions: of a directory, of a file whose hash is told, of another version.
v = client.create_model_version(NAME, source, run_id="0123456789abcdef", tags={"checked": "yes"}, description="first")
assert (v.version, v.status, v.source, v.run_id, v.tags) == ("1", "READY", source, "0123456789abcdef", {"checked": "yes"}), v
assert client.create_model_version(NAME, source).version == "1"  # the same content is the same version
told = {"poterne.sha256": "0a" * 32, "poterne.size-bytes": "7", "poterne.engine": "llama-server", "poterne.task": "tensor"}
refused("INVALID_PARAMETER_VALUE", client.create_model_version, NAME, "s3://models/a.gguf")
refused("INVALID_PARAMETER_VALUE", client.create_model_version, NAME, "file:///etc")
refused("INVALID_PARAMETER_VALUE", client.create_model_version, NAME, "s3://models/a.gguf", tags={"poterne.sha256": "0a"})
v = client.create_model_version(NAME, "s3://models/a.gguf", tags=told)
assert (v.version, v.source, v.tags) == ("2", "s3://models/a.gguf", {}), v
refused("RESOURCE_DOES_NOT_EXIST", client.create_model_version, "absent", source)
client.create_registered_model(NAME + "-copy")
copy = client.copy_model_version(f"models:/{NAME}/1", NAME + "-copy")
assert copy.version == "1", copy
assert client.get_model_version_download_uri(NAME, "1") == source
assert client.update_model_version(NAME, "2", "second").description == "second"
client.set_model_version_tag(NAME, "2", "a", "b")
assert client.get_model_version(NAME, "2").tags == {"a": "b"}
client.delete_model_version_tag(NAME, "2", "a")
assert client.get_model_version(NAME, "2").tags == {}
assert [v.version for v in client.search_model_versions(f"name='{NAME}'")] == ["2", "1"]
assert [v.version for v in client.search_model_versions(f"name='{NAME}' AND run_id='0123456789abcdef'")] == ["1"]
first = client.search_model_versions(f"name='{NAME}'", max_results=1)
assert [v.version for v in client.search_model_versions(f"name='{NAME}'", max_results=1, page_token=first.token)] == ["1"]
refused("INVALID_PARAMETER_VALUE", client.search_model_versions, "size > 3")
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, NAME, "9")

# Aliases and stages.
client.set_registered_model_alias(NAME, "champion", "1")
assert client.get_model_version_by_alias(NAME, "champion").version == "1"
client.set_registered_model_alias(NAME, "champion", "2")
assert client.get_registered_model(NAME).aliases == {"champion": "2"}
refused("INVALID_STATE", client.delete_model_version, NAME, "2")
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version_by_alias, NAME, "absent")
assert client.transition_model_version_stage(NAME, "1", "Production").current_stage == "Production"
assert [v.version for v in client.get_latest_versions(NAME, ["Production"])] == ["1"]
assert client.transition_model_version_stage(NAME, "1", "Archived").current_stage == "None"
client.delete_registered_model_alias(NAME, "champion")

# What has no counterpart is not there.
refused("RESOURCE_DOES_NOT_EXIST", client.rename_registered_model, NAME, "other")

# Away with it.
client.delete_model_version(NAME, "2")
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, NAME, "2")
client.delete_registered_model(NAME)
refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, NAME)

os.environ["MLFLOW_TRACKING_TOKEN"] = "wrong"
refused("UNAUTHENTICATED", client.get_registered_model, NAME)
print("mlflow: all there")
