"""Uses kserve as its users do: only the URL changed and an Authorization header
given.

Environment: POTERNE_URL, POTERNE_GRPC_ADDR, POTERNE_API_KEY,
POTERNE_TENSOR_MODEL_NAME: petal length and width (x, FP64, two columns) to the
kind of iris (predict, INT64). Exits 1 at the first thing that is not as KServe would
have it.
"""

import asyncio
import os
import sys

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

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


def kserve_request(binary):
    x = InferInput("x", list(FLOWERS.shape), "FP64")
    x.set_data_from_numpy(FLOWERS, binary_data=binary)
    return InferRequest(model_name=MODEL, infer_inputs=[x], request_id="7")


def kserve_kinds(response):
    return response.outputs[0].as_numpy().reshape(-1).tolist()


async def main():
    c = InferenceRESTClient(RESTConfig(protocol="v2"))
    check("kserve REST live", await c.is_server_live(URL, headers=AUTH))
    check("kserve REST ready", await c.is_server_ready(URL, headers=AUTH))
    check("kserve REST model ready", await c.is_model_ready(URL, MODEL, headers=AUTH))
    check("kserve REST no model ready", not await c.is_model_ready(URL, "none", headers=AUTH))
    for binary in (False, True):
        r = await c.infer(URL, kserve_request(binary), model_name=MODEL, headers=dict(AUTH))
        check(f"kserve REST infer, bytes {binary}", kserve_kinds(r) == KINDS and r.id == "7", r)
    try:
        await c.infer(URL, kserve_request(False), model_name="none", headers=dict(AUTH))
        check("kserve REST unknown model", False, "not refused")
    except httpx.HTTPStatusError as e:
        check("kserve REST unknown model", e.response.status_code == 404 and "none" in str(e), str(e))
    await c.close()

    g = InferenceGRPCClient(GRPC)
    metadata = tuple(AUTH_GRPC.items())
    check("kserve gRPC live", await g.is_server_live(headers=metadata))
    check("kserve gRPC ready", await g.is_server_ready(headers=metadata))
    check("kserve gRPC model ready", await g.is_model_ready(MODEL, headers=metadata))
    for binary in (False, True):
        r = await g.infer(kserve_request(binary), headers=metadata)
        check(f"kserve gRPC infer, bytes {binary}", kserve_kinds(r) == KINDS and r.id == "7", r)
    await g.close()


asyncio.run(main())
print(f"{done} checks hold")
