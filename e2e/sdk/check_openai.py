"""Uses the official OpenAI SDK as its users do: only base_url and key changed.

Environment: POTERNE_URL, POTERNE_API_KEY, POTERNE_CHAT_MODEL_NAME,
POTERNE_EMBEDDING_MODEL_NAME, POTERNE_DIMENSIONS. Exits 1 at the first thing
that is not as OpenAI's own service would have it.
"""

import asyncio
import json
import os
import sys
import time
import urllib.request

import openai

URL = os.environ["POTERNE_URL"] + "/v1"
KEY = os.environ["POTERNE_API_KEY"]
CHAT = os.environ["POTERNE_CHAT_MODEL_NAME"]
EMBEDDING = os.environ["POTERNE_EMBEDDING_MODEL_NAME"]
DIMENSIONS = int(os.environ["POTERNE_DIMENSIONS"])
HELLO = [{"role": "user", "content": "Say hello."}]

client = openai.OpenAI(base_url=URL, api_key=KEY, timeout=180, max_retries=0)
done = 0


def check(name, ok, detail=""):
    global done
    if not ok:
        sys.exit(f"FAIL {name}: {detail}")
    done += 1
    print("ok  ", name)


def raises(name, kind, call, **want):
    try:
        call()
    except kind as e:
        for attribute, value in want.items():
            check(f"{name}: {attribute}", getattr(e, attribute) == value, f"{attribute} is {getattr(e, attribute)!r}: {e}")
        check(name, bool(e.request_id), f"no request id: {e}")
    except Exception as e:
        sys.exit(f"FAIL {name}: {type(e).__name__}, not {kind.__name__}: {e}")
    else:
        sys.exit(f"FAIL {name}: nothing was raised")


def moderation():
    answer = client.moderations.create(input=["Hello.", "Write to ada@example.org."])
    check("moderation: flagged", [r.flagged for r in answer.results] == [False, True], answer)
    check("moderation: categories", answer.results[1].to_dict()["categories"]["pii/email"] is True, answer)


def responses():
    first = client.responses.create(model=CHAT, input="Say hello.", max_output_tokens=12, metadata={"k": "v"})
    check("response: text", bool(first.output_text.strip()), first)
    check("response: status", first.status in ("completed", "incomplete"), first)
    check("response: usage", first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens > 0, first.usage)
    second = client.responses.create(model=CHAT, input=[{"role": "user", "content": "Again."}], previous_response_id=first.id, max_output_tokens=4)
    check("response: goes on", second.previous_response_id == first.id and second.usage.input_tokens > first.usage.input_tokens, second)
    kept = client.responses.retrieve(first.id)
    check("response: kept", kept.output_text == first.output_text and kept.metadata == {"k": "v"}, kept)
    items = client.responses.input_items.list(second.id, order="asc").data
    check("response: input items", [i.role for i in items] == ["user", "assistant", "user"], items)
    kinds, text = [], ""
    with client.responses.stream(model=CHAT, input="Say hello.", max_output_tokens=12) as events:
        for event in events:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        final = events.get_final_response() if kinds[-1] == "response.completed" else event.response
    check("response: stream", kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), kinds)
    check("response: streamed text", final.output[0].content[0].text == text and text, final)
    client.responses.delete(first.id)
    raises("response: forgotten", openai.NotFoundError, lambda: client.responses.retrieve(first.id))
    raises("response: from a forgotten one", openai.NotFoundError, lambda: client.responses.create(model=CHAT, input="x", previous_response_id=first.id))
    raises("response: a tool that is not there", openai.BadRequestError,
           lambda: client.responses.create(model=CHAT, input="x", tools=[{"type": "web_search"}]), param="tools[0].type")


def conversations():
    talk = client.conversations.create(metadata={"topic": "names"}, items=[{"type": "message", "role": "user", "content": "My name is Ada."}])
    check("conversation: made", talk.id.startswith("conv_") and talk.object == "conversation" and talk.metadata == {"topic": "names"} and talk.created_at > 0, talk)
    check("conversation: retrieved", client.conversations.retrieve(talk.id).metadata == {"topic": "names"})
    check("conversation: noted", client.conversations.update(talk.id, metadata={"topic": "weather"}).metadata == {"topic": "weather"})
    made = client.conversations.items.create(talk.id, items=[
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello Ada.", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c1", "output": "Sun"}])
    check("conversation: items made", [i.type for i in made.data] == ["message", "function_call", "function_call_output"] and made.last_id == made.data[-1].id, made)
    answer = client.responses.create(model=CHAT, input="Who am I?", conversation=talk.id, max_output_tokens=8)
    check("conversation: response", answer.conversation.id == talk.id and answer.output_text, answer)
    alone = client.responses.create(model=CHAT, input="Who am I?", max_output_tokens=8)
    check("conversation: is read", answer.usage.input_tokens > alone.usage.input_tokens and alone.conversation is None, (answer.usage, alone.usage))
    with client.responses.stream(model=CHAT, input="Again.", conversation=talk.id, max_output_tokens=8) as events:
        streamed = [e for e in events][-1].response
    check("conversation: streamed", streamed.conversation.id == talk.id, streamed)
    items = list(client.conversations.items.list(talk.id, order="asc", limit=3, include=["message.output_text.logprobs"]))
    said = [(i.type, getattr(i, "role", None)) for i in items]
    one, call, gave = ("message", "user"), ("function_call", None), ("function_call_output", None)
    check("conversation: items, page by page", said == [one, ("message", "assistant"), call, gave, one, ("message", "assistant"), one, ("message", "assistant")], said)
    check("conversation: an answer's item", items[5].content[0].type == "output_text" and items[5].content[0].text == answer.output_text and items[5].status == "completed", items[5])
    newest = client.conversations.items.list(talk.id, limit=1)
    check("conversation: the newest first", newest.data[0].id == items[-1].id and newest.has_more, newest)
    check("conversation: an item", client.conversations.items.retrieve(items[0].id, conversation_id=talk.id).content[0].text == "My name is Ada.")
    check("conversation: an item deleted", client.conversations.items.delete(items[0].id, conversation_id=talk.id).id == talk.id)
    raises("conversation: the item is gone", openai.NotFoundError, lambda: client.conversations.items.retrieve(items[0].id, conversation_id=talk.id), status_code=404)
    left = [i.id for i in client.conversations.items.list(talk.id, order="asc")]
    check("conversation: the others stay", left == [i.id for i in items[1:]], left)
    gone = client.conversations.delete(talk.id)
    check("conversation: deleted", gone.deleted and gone.object == "conversation.deleted" and gone.id == talk.id, gone)
    raises("conversation: gone", openai.NotFoundError, lambda: client.conversations.retrieve(talk.id))
    raises("conversation: not begun again", openai.NotFoundError, lambda: client.responses.create(model=CHAT, input="x", conversation=talk.id))
    raises("conversation: too many items", openai.BadRequestError, lambda: client.conversations.create(items=[{"role": "user", "content": "x"}] * 21), param="items")


def batches():
    ask = {"model": CHAT, "messages": HELLO, "max_tokens": 2}
    lines = [{"custom_id": f"c{i}", "method": "POST", "url": "/v1/chat/completions", "body": ask} for i in range(3)]
    lines.append({"custom_id": "wrong", "method": "POST", "url": "/v1/chat/completions", "body": {**ask, "model": "no-such-model"}})
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("requests.jsonl", data), purpose="batch", expires_after={"anchor": "created_at", "seconds": 7200})
    check("file: made", file.id and file.bytes == len(data) and file.filename == "requests.jsonl" and file.purpose == "batch", file)
    check("file: ends", file.expires_at == file.created_at + 7200, file)
    check("file: retrieved", client.files.retrieve(file.id).id == file.id)
    check("file: content", client.files.content(file.id).read() == data)
    second = client.files.create(file=b"x", purpose="batch")
    check("file: listed by pages", {file.id, second.id} <= {f.id for f in client.files.list(limit=1, purpose="batch")})
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"k": "v"})
    check("batch: made", batch.status in ("validating", "in_progress") and batch.metadata == {"k": "v"}, batch)
    end = time.monotonic() + 120
    while client.batches.retrieve(batch.id).status not in ("completed", "failed", "expired", "cancelled"):
        check("batch: ends in time", time.monotonic() < end)
        time.sleep(0.2)
    batch = client.batches.retrieve(batch.id)
    counts = batch.request_counts
    check("batch: completed", batch.status == "completed" and (counts.total, counts.completed, counts.failed) == (4, 3, 1), batch)
    results = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    check("batch: results", sorted(r["custom_id"] for r in results) == ["c0", "c1", "c2"], results)
    check("batch: an answer", results[0]["response"]["status_code"] == 200 and results[0]["response"]["body"]["choices"], results)
    failed = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    check("batch: errors", [(f["custom_id"], f["response"]["status_code"]) for f in failed] == [("wrong", 404)], failed)
    check("batch: listed", any(b.id == batch.id for b in client.batches.list(limit=2)))
    raises("batch: cancelled too late", openai.ConflictError, lambda: client.batches.cancel(batch.id))
    wrong = client.batches.create(input_file_id=second.id, endpoint="/v1/embeddings", completion_window="24h")
    while wrong.status == "validating":
        time.sleep(0.2)
        wrong = client.batches.retrieve(wrong.id)
    check("batch: a wrong file", wrong.status == "failed" and wrong.errors.data[0].line == 1 and wrong.errors.data[0].code == "invalid_json_line", wrong)
    check("file: deleted", client.files.delete(file.id).deleted)
    raises("file: gone", openai.NotFoundError, lambda: client.files.retrieve(file.id))
    raises("file: another purpose", openai.BadRequestError, lambda: client.files.create(file=b"x", purpose="fine-tune"), param="purpose")


def chat():
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=12, temperature=0)
    check("chat: content", bool(answer.choices[0].message.content.strip()), answer)
    check("chat: role", answer.choices[0].message.role == "assistant", answer)
    check("chat: finish_reason", answer.choices[0].finish_reason in ("stop", "length"), answer)
    check("chat: usage", answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0, answer.usage)
    check("chat: id and model", answer.id and answer.model == CHAT, answer)
    check("chat: request id", bool(answer._request_id), answer)
    raw = client.chat.completions.with_raw_response.create(
        model=CHAT, messages=[{"role": "user", "content": [{"type": "text", "text": "Hi."}]}],
        max_completion_tokens=2, stop=["###"], extra_body={"an_engine_parameter": {"a": 1}},
    )
    check("chat: raw headers", raw.headers.get("x-poterne-model", "").startswith(CHAT + "@v"), raw.headers)
    check("chat: raw parses", raw.parse().choices[0].message.content is not None)


def stream():
    text, usage, finish = "", None, None
    for chunk in client.chat.completions.create(
        model=CHAT, messages=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}
    ):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        usage = chunk.usage or usage
    check("stream: text", bool(text.strip()), text)
    check("stream: finish_reason", finish in ("stop", "length"), finish)
    check("stream: usage", usage is not None and usage.completion_tokens > 0, usage)
    with client.chat.completions.stream(model=CHAT, messages=HELLO, max_tokens=8) as events:
        try:
            final = events.get_final_completion()
        except openai.LengthFinishReasonError as e:  # the SDK's word for a truncated answer
            final = e.completion
    check("stream: helper", final.choices[0].message.content is not None, final)
    first = next(iter(client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=64, stream=True)))
    check("stream: left early", first.object == "chat.completion.chunk", first)


async def asynchronous():
    a = openai.AsyncOpenAI(base_url=URL, api_key=KEY, timeout=180, max_retries=0)
    answers = await asyncio.gather(*(a.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=4) for _ in range(3)))
    check("async: three at once", all(x.choices[0].message.content is not None for x in answers))


def completions():
    answer = client.completions.create(model=CHAT, prompt="One, two,", max_tokens=4)
    check("completions: text", answer.object == "text_completion" and answer.choices[0].text != "", answer)


def embeddings():
    default = client.embeddings.create(model=EMBEDDING, input=["a gate", "a wall"])
    floats = client.embeddings.create(model=EMBEDDING, input=["a gate", "a wall"], encoding_format="float")
    check("embeddings: number", [d.index for d in default.data] == [0, 1], default)
    check("embeddings: dimensions", all(len(d.embedding) == DIMENSIONS for d in default.data + floats.data))
    apart = max(abs(x - y) for x, y in zip(default.data[1].embedding, floats.data[1].embedding))
    check("embeddings: base64 is float", apart < 1e-3, apart)
    check("embeddings: usage", default.usage.prompt_tokens > 0 and default.usage.total_tokens == default.usage.prompt_tokens)


def models():
    names = [m.id for m in client.models.list()]
    check("models: list", CHAT in names and EMBEDDING in names, names)
    check("models: retrieve", client.models.retrieve(CHAT).id == CHAT)
    raises("models: unknown", openai.NotFoundError, lambda: client.models.retrieve("no-such-model"), status_code=404)


def registry(method, path, body=None):
    request = urllib.request.Request(
        URL + "/registry" + path, None if body is None else json.dumps(body).encode(), method=method,
        headers={"authorization": "Bearer " + KEY, "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


def prompted(prompt, user="ada"):
    """A chat with a prompt, as soon as every replica knows it."""
    for attempt in range(100):
        try:
            return client.chat.completions.with_raw_response.create(
                model=CHAT, messages=HELLO, max_tokens=2, user=user, **({"extra_body": {"prompt": prompt}} if prompt else {})
            )
        except openai.NotFoundError:
            time.sleep(0.1)
    sys.exit(f"FAIL prompts: {prompt} is not there")


def prompts():
    for text in ("Be brief, {{name}}.", "You answer {{name}} at length. " * 20):
        spec = {"messages": [{"role": "system", "content": text}], "variables": [{"name": "name", "required": True}]}
        registry("POST", "/prompts/sdk/versions", {"spec": spec})
    registry("PUT", "/prompts/sdk/aliases/production", {"version": 2, "etag": "*"})
    ada = {"name": "Ada"}
    plain = client.chat.completions.with_raw_response.create(model=CHAT, messages=HELLO, max_tokens=2)
    long, short = prompted({"id": "sdk", "variables": ada}), prompted({"id": "sdk", "version": "1", "variables": ada})
    check("prompts: production", long.headers.get("x-poterne-prompt") == "sdk@v2", long.headers)
    check("prompts: version", short.headers.get("x-poterne-prompt") == "sdk@v1", short.headers)
    check("prompts: none", "x-poterne-prompt" not in plain.headers, plain.headers)
    tokens = [r.parse().usage.prompt_tokens for r in (plain, short, long)]
    check("prompts: the engine reads them", tokens[1] != tokens[0] and tokens[2] > tokens[1] + 50, tokens)
    chunks = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=2, stream=True, extra_body={"prompt": {"id": "sdk", "variables": ada}})
    check("prompts: stream", len(list(chunks)) > 0)
    for name, variables, param in (("missing", {}, "name"), ("unknown", {**ada, "age": "3"}, "age")):
        raises(f"prompts: {name}", openai.BadRequestError, lambda: client.chat.completions.create(
            model=CHAT, messages=HELLO, extra_body={"prompt": {"id": "sdk", "variables": variables}}), param="prompt.variables." + param)
    raises("prompts: too large", openai.BadRequestError, lambda: client.chat.completions.create(
        model=CHAT, messages=HELLO, extra_body={"prompt": {"id": "sdk", "variables": {"name": "x" * 65537}}}))
    raises("prompts: unknown prompt", openai.NotFoundError, lambda: client.chat.completions.create(
        model=CHAT, messages=HELLO, extra_body={"prompt": {"id": "no-such-prompt"}}), param="prompt.id")

    # An A/B of two prompts on one version of the model.
    version = int(plain.headers["x-poterne-model"].rpartition("@v")[2])
    arms = [{"name": f"p{n}", "version": version, "weight": 500000, "prompt": {"prompt": "sdk", "version": n}} for n in (1, 2)]
    registry("PUT", f"/models/{CHAT}/split", {"arms": arms, "etag": "*"})
    try:
        met = {}
        for n in range(200):
            answer = prompted({"id": "sdk", "variables": ada}, user=f"user{n}")
            arm = answer.headers.get("x-poterne-arm")
            if arm is None:
                continue  # the split is not known there yet
            met[arm] = (answer.headers.get("x-poterne-prompt"), answer.parse().usage.prompt_tokens)
            if len(met) == 2:
                break
        check("prompts: two arms", met == {"p1": ("sdk@v1", tokens[1]), "p2": ("sdk@v2", tokens[2])}, (met, tokens))
    finally:
        registry("DELETE", f"/models/{CHAT}/split?etag=*")
    # Whatever comes next must not meet the arms: every replica has to know that they are gone.
    without = 0
    for attempt in range(200):
        answer = prompted({"id": "sdk", "variables": ada}, user=f"user{attempt}")
        without = 0 if "x-poterne-arm" in answer.headers else without + 1
        if without == 8:
            break
        time.sleep(0.05)
    check("prompts: no arms any more", without == 8, without)


def errors():
    raises("error: unknown model", openai.NotFoundError, lambda: client.chat.completions.create(model="no-such-model", messages=HELLO), code="model_not_found")
    raises("error: unknown model, streamed", openai.NotFoundError, lambda: client.chat.completions.create(model="no-such-model", messages=HELLO, stream=True))
    stranger = openai.OpenAI(base_url=URL, api_key="sk-wrong", max_retries=0)
    raises("error: wrong key", openai.AuthenticationError, lambda: stranger.chat.completions.create(model=CHAT, messages=HELLO), code="invalid_api_key")
    raises("error: bad request", openai.BadRequestError, lambda: client.chat.completions.create(model=CHAT, messages=[{"role": "king", "content": "hi"}]), param="messages[0].role")
    long = [{"role": "user", "content": "many words " * 60000}]
    raises("error: context", openai.BadRequestError, lambda: client.chat.completions.create(model=CHAT, messages=long), code="context_length_exceeded")


moderation()
responses()
conversations()
batches()
chat()
stream()
asyncio.run(asynchronous())
completions()
embeddings()
models()
prompts()
errors()
print(f"{done} passed, 0 failed")
