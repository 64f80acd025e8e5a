"""Uses the official Anthropic SDK as its users do: only base_url and key changed.

Environment: POTERNE_URL, POTERNE_API_KEY, POTERNE_CHAT_MODEL_NAME,
POTERNE_EMBEDDING_MODEL_NAME. Exits 1 at the first thing that is not as Anthropic's own service would have it.
"""

import asyncio
import os
import sys

import anthropic

URL = os.environ["POTERNE_URL"]
KEY = os.environ["POTERNE_API_KEY"]
CHAT = os.environ["POTERNE_CHAT_MODEL_NAME"]
HELLO = [{"role": "user", "content": "Say hello."}]

client = anthropic.Anthropic(base_url=URL, api_key=KEY, timeout=180, max_retries=0)
done = 0


def check(name, ok, detail=""):
    global done
    if not ok:
        sys.exit(f"FAIL {name}: {detail}")
    done += 1
    print("ok  ", name)


def raises(name, kind, call, want):
    try:
        call()
    except kind as e:
        check(f"{name}: type", e.body["error"]["type"] == want, e.body)
        check(f"{name}: request id", bool(e.request_id), e)
    except Exception as e:
        sys.exit(f"FAIL {name}: {type(e).__name__}, not {kind.__name__}: {e}")
    else:
        sys.exit(f"FAIL {name}: nothing was raised")


def message():
    answer = client.messages.create(model=CHAT, max_tokens=12, messages=HELLO, system="Be brief.", extra_body={"temperature": 0})
    check("message: text", answer.content[0].type == "text" and bool(answer.content[0].text.strip()), answer)
    check("message: stop reason", answer.stop_reason in ("end_turn", "max_tokens"), answer)
    check("message: usage", answer.usage.output_tokens > 0 and answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) > 0, answer.usage)
    check("message: shape", answer.type == "message" and answer.role == "assistant" and answer.model == CHAT and answer.id, answer)
    check("message: request id", bool(answer._request_id), answer)
    blocks = client.messages.create(
        model=CHAT, max_tokens=4, extra_body={"top_k": 1}, stop_sequences=["###"], metadata={"user_id": "alice"},
        messages=[*HELLO, {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
                  {"role": "user", "content": [{"type": "text", "text": "Again.", "cache_control": {"type": "ephemeral"}}]}],
    )
    check("message: blocks", blocks.content[0].type == "text", blocks)


def stream():
    kinds = []
    with client.messages.stream(model=CHAT, max_tokens=12, messages=HELLO) as s:
        for event in s:
            kinds.append(event.type)
        final = s.get_final_message()
    check("stream: begins", kinds[0] == "message_start", kinds)
    check("stream: ends", kinds[-1] == "message_stop", kinds)
    check("stream: text", bool(final.content[0].text.strip()), final)
    check("stream: stop reason", final.stop_reason in ("end_turn", "max_tokens"), final)
    check("stream: usage", final.usage.output_tokens > 0, final.usage)


def count():
    counted = client.messages.count_tokens(model=CHAT, messages=HELLO, system="Be brief.")
    check("count: tokens", counted.input_tokens > 2, counted)


def models():
    listed = list(client.models.list(limit=1))  # page after page
    ids = [m.id for m in listed]
    check("models: all, once", CHAT in ids and len(ids) == len(set(ids)), ids)
    check("models: those that embed are not there", os.environ["POTERNE_EMBEDDING_MODEL_NAME"] not in ids, ids)
    one = client.models.retrieve(CHAT)
    check("models: shape", one.type == "model" and one.id == CHAT and one.display_name and one.created_at.year >= 1970 and one.max_input_tokens > 0, one)
    check("models: beta", client.beta.models.retrieve(CHAT).id == CHAT, "")
    page = client.models.list(limit=1000)
    check("models: page", page.has_more is False and page.first_id == ids[0] and page.last_id == ids[-1], page)
    check("models: backwards", [m.id for m in client.models.list(before_id=ids[-1], limit=1000)] == ids[:-1], ids)


def refusals():
    raises("no such model to retrieve", anthropic.NotFoundError, lambda: client.models.retrieve("nobody-has-this"), "not_found_error")
    raises("models with a wrong key", anthropic.AuthenticationError,
           lambda: anthropic.Anthropic(base_url=URL, api_key="ptn_wrong", max_retries=0).models.list(), "authentication_error")
    raises("no such model", anthropic.NotFoundError,
           lambda: client.messages.create(model="nobody-has-this", max_tokens=4, messages=HELLO), "not_found_error")
    raises("a block that is unknown", anthropic.BadRequestError,
           lambda: client.messages.create(model=CHAT, max_tokens=4, messages=[{"role": "user", "content": [{"type": "video"}]}]),
           "invalid_request_error")
    stranger = anthropic.Anthropic(base_url=URL, api_key="ptn_wrong", max_retries=0)
    raises("a wrong key", anthropic.AuthenticationError,
           lambda: stranger.messages.create(model=CHAT, max_tokens=4, messages=HELLO), "authentication_error")


async def asynchronous():
    async with anthropic.AsyncAnthropic(base_url=URL, auth_token=KEY, timeout=180, max_retries=0) as c:
        answers = await asyncio.gather(*[c.messages.create(model=CHAT, max_tokens=4, messages=HELLO) for _ in range(3)])
    check("async: bearer token", all(a.content for a in answers), answers)


message()
stream()
count()
models()
refusals()
asyncio.run(asynchronous())
print(f"{done} checks")
