"""Uses tritonclient as its users do: only the URL changed and an Authorization header
given.

Environment: POTERNE_URL, POTERNE_GRPC_ADDR, POTERNE_API_KEY,
POTERNE_TENSOR_MODEL_NAME: petal length and width (x, FP64, two columns) to the
kind of iris (predict, INT64). Exits 1 at the first thing that is not as Triton would
have it.
"""

import os
import queue
import sys

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

URL = os.environ["POTERNE_URL"]
GRPC = os.environ["POTERNE_GRPC_ADDR"]
MODEL = os.environ["POTERNE_TENSOR_MODEL_NAME"]
AUTH = {"Authorization": "Bearer " + os.environ["POTERNE_API_KEY"]}
AUTH_GRPC = {"authorization": AUTH["Authorization"]}  # gRPC has no upper case
FLOWERS = np.array([[1.4, 0.2], [4.2, 1.3], [6.0, 2.5]])
KINDS = [0, 1, 2]

done = 0


def check(name, ok, detail=""):
    global done
    if not ok:
        sys.exit(f"FAIL {name}: {detail}")
    done += 1
    print("ok  ", name)


def refused(name, call, *parts):
    try:
        result = call()
    except InferenceServerException as e:
        check(name, all(p in str(e) for p in parts), str(e))
    else:
        check(name, False, f"not refused: {result}")


def kinds(result):
    return result.as_numpy("predict").reshape(-1).tolist()


def flowers(module, data=FLOWERS, **how):
    x = module.InferInput("x", list(data.shape), "FP64")
    x.set_data_from_numpy(data, **how)
    return [x]


def triton_rest():  # dict(AUTH), for the client adds to what it is given
    c = triton_http.InferenceServerClient(URL.removeprefix("http://"))
    check("tritonclient.http live", c.is_server_live(headers=dict(AUTH)))
    check("tritonclient.http ready", c.is_server_ready(headers=dict(AUTH)))
    check("tritonclient.http live without a key", c.is_server_live())
    check("tritonclient.http server metadata", c.get_server_metadata(headers=dict(AUTH))["name"] == "poterne")
    check("tritonclient.http model ready", c.is_model_ready(MODEL, headers=dict(AUTH)))
    check("tritonclient.http version ready", c.is_model_ready(MODEL, "1", headers=dict(AUTH)))
    check("tritonclient.http no model ready", not c.is_model_ready("none", headers=dict(AUTH)))
    md = c.get_model_metadata(MODEL, headers=dict(AUTH))
    check("tritonclient.http model metadata", md["name"] == MODEL and md["inputs"][0] == {"name": "x", "datatype": "FP64", "shape": [-1, 2]}, md)
    index = c.get_model_repository_index(headers=dict(AUTH))
    check("tritonclient.http index", any(m["name"] == MODEL and m["state"] == "READY" for m in index), index)
    r = c.infer(MODEL, flowers(triton_http), headers=dict(AUTH), request_id="7")
    check("tritonclient.http infer, bytes both ways", kinds(r) == KINDS, r.get_response())
    check("tritonclient.http answer", r.get_response()["id"] == "7" and r.get_response()["model_version"] == "1", r.get_response())
    plain = [triton_http.InferRequestedOutput("predict", binary_data=False)]
    r = c.infer(MODEL, flowers(triton_http, binary_data=False), outputs=plain, headers=dict(AUTH))
    check("tritonclient.http infer, JSON both ways", kinds(r) == KINDS and "data" in r.get_output("predict"), r.get_response())
    r = c.infer(MODEL, flowers(triton_http), outputs=plain, headers=dict(AUTH), model_version="1")
    check("tritonclient.http infer of a version, bytes to JSON", kinds(r) == KINDS, r.get_response())
    r = c.infer(MODEL + "@production", flowers(triton_http, binary_data=False), headers=dict(AUTH))
    check("tritonclient.http infer of an alias, JSON to bytes", kinds(r) == KINDS, r.get_response())
    asked = [c.async_infer(MODEL, flowers(triton_http), headers=dict(AUTH)) for _ in range(4)]
    check("tritonclient.http async infer", all(kinds(a.get_result()) == KINDS for a in asked))
    refused("tritonclient.http unknown model", lambda: c.infer("none", flowers(triton_http), headers=dict(AUTH)), "[404]", "none")
    refused("tritonclient.http no key", lambda: c.infer(MODEL, flowers(triton_http)), "[401]")
    refused("tritonclient.http wrong shape", lambda: c.infer(MODEL, flowers(triton_http, np.ones((1, 3))), headers=dict(AUTH)), "3 features")
    refused("tritonclient.http a load", lambda: c.load_model(MODEL, headers=dict(AUTH)), "[404]")
    refused("tritonclient.http a sequence", lambda: c.infer(MODEL, flowers(triton_http), headers=dict(AUTH), sequence_id=5, sequence_start=True), "[400]", "sequence_id")
    c.close()


def triton_rpc():
    c = triton_grpc.InferenceServerClient(GRPC)
    check("tritonclient.grpc live", c.is_server_live(headers=AUTH_GRPC))
    check("tritonclient.grpc ready", c.is_server_ready(headers=AUTH_GRPC))
    check("tritonclient.grpc server metadata", c.get_server_metadata(headers=AUTH_GRPC).name == "poterne")
    check("tritonclient.grpc model ready", c.is_model_ready(MODEL, headers=AUTH_GRPC))
    md = c.get_model_metadata(MODEL, "1", headers=AUTH_GRPC)
    check("tritonclient.grpc model metadata", md.name == MODEL and md.inputs[0].name == "x" and list(md.versions) == ["1"], md)
    index = c.get_model_repository_index(headers=AUTH_GRPC)
    check("tritonclient.grpc index", any(m.name == MODEL and m.state == "READY" for m in index.models), index)
    r = c.infer(MODEL, flowers(triton_grpc), headers=AUTH_GRPC, request_id="7")
    check("tritonclient.grpc infer", kinds(r) == KINDS and r.get_response().id == "7" and r.get_response().model_version == "1", r.get_response())
    refused("tritonclient.grpc unknown model", lambda: c.infer("none", flowers(triton_grpc), headers=AUTH_GRPC), "NOT_FOUND")
    refused("tritonclient.grpc no key", lambda: c.infer(MODEL, flowers(triton_grpc)), "UNAUTHENTICATED")
    refused("tritonclient.grpc wrong shape", lambda: c.infer(MODEL, flowers(triton_grpc, np.ones((1, 3))), headers=AUTH_GRPC), "3 features")
    refused("tritonclient.grpc a load", lambda: c.load_model(MODEL, headers=AUTH_GRPC), "PERMISSION_DENIED")

    came = queue.Queue()
    c.start_stream(callback=lambda result, error: came.put((result, error)), headers=AUTH_GRPC)
    for n in range(3):
        c.async_stream_infer(MODEL, flowers(triton_grpc), request_id=str(n))
    for n in range(3):
        result, error = came.get(timeout=60)
        check(f"tritonclient.grpc stream {n}", error is None and kinds(result) == KINDS and result.get_response().id == str(n), error)
    c.async_stream_infer(MODEL, flowers(triton_grpc, np.ones((1, 3))), request_id="bad")
    result, error = came.get(timeout=60)
    check("tritonclient.grpc stream, wrong shape", error is not None and "3 features" in str(error), error)
    c.async_stream_infer(MODEL, flowers(triton_grpc), request_id="after")
    result, error = came.get(timeout=60)
    check("tritonclient.grpc stream goes on", error is None and kinds(result) == KINDS, error)
    c.stop_stream()
    c.close()


triton_rest()
triton_rpc()
print(f"{done} checks hold")
