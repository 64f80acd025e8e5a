// Uses the official Anthropic package for Node.js as its users do: only baseURL and key
// changed.
//
// Environment: POTERNE_URL, POTERNE_API_KEY, POTERNE_CHAT_MODEL_NAME. Exits 1 at the
// first thing that is not as Anthropic's own service would have it.

import Anthropic from "@anthropic-ai/sdk";

import { check, done, raises } from "./check.mjs";

const baseURL = process.env.POTERNE_URL;
const apiKey = process.env.POTERNE_API_KEY;
const model = process.env.POTERNE_CHAT_MODEL_NAME;
const messages = [{ role: "user", content: "Say hello." }];

const client = new Anthropic({ baseURL, apiKey, timeout: 180_000, maxRetries: 0 });

async function message() {
  const answer = await client.messages.create({ model, max_tokens: 12, messages, system: "Be brief.", stop_sequences: ["###"], metadata: { user_id: "alice" } });
  check("message: text", answer.content[0].type === "text" && answer.content[0].text.trim(), answer);
  check("message: stop reason", ["end_turn", "max_tokens"].includes(answer.stop_reason), answer);
  check("message: usage", answer.usage.output_tokens > 0, answer.usage);
  check("message: shape", answer.type === "message" && answer.role === "assistant" && answer.model === model && answer.id, answer);
  check("message: request id", Boolean(answer._request_id), answer);
  const bearer = new Anthropic({ baseURL, apiKey: null, authToken: apiKey, maxRetries: 0 });
  check("message: bearer token", (await bearer.messages.create({ model, max_tokens: 2, messages })).content, "");
}

async function stream() {
  const kinds = [];
  const events = client.messages.stream({ model, max_tokens: 12, messages }).on("streamEvent", (e) => kinds.push(e.type));
  const final = await events.finalMessage();
  check("stream: events", kinds[0] === "message_start" && kinds.at(-1) === "message_stop", kinds);
  check("stream: text", final.content[0].text.trim(), final);
  check("stream: stop reason", ["end_turn", "max_tokens"].includes(final.stop_reason), final);
  check("stream: usage", final.usage.output_tokens > 0, final.usage);
  const raw = await client.messages.create({ model, max_tokens: 64, messages, stream: true });
  for await (const event of raw) {
    check("stream: left early", event.type === "message_start", event);
    break;
  }
}

async function count() {
  const counted = await client.messages.countTokens({ model, messages, system: "Be brief." });
  check("count: tokens", counted.input_tokens > 2, counted);
}

async function models() {
  const ids = [];
  for await (const m of client.models.list({ limit: 1 })) ids.push(m.id);
  check("models: all, once", ids.includes(model) && new Set(ids).size === ids.length, ids);
  const one = await client.models.retrieve(model);
  check("models: shape", one.type === "model" && one.id === model && one.display_name && !Number.isNaN(Date.parse(one.created_at)) && one.max_input_tokens > 0, one);
  check("models: beta", (await client.beta.models.retrieve(model)).id === model, "");
}

async function refusals() {
  const kind = (type) => ({ type });
  await raises("no such model", Anthropic.NotFoundError, client.messages.create({ model: "nobody-has-this", max_tokens: 4, messages }), kind("not_found_error"));
  await raises("no such model to retrieve", Anthropic.NotFoundError, client.models.retrieve("nobody-has-this"), kind("not_found_error"));
  await raises("a block that is unknown", Anthropic.BadRequestError,
    client.messages.create({ model, max_tokens: 4, messages: [{ role: "user", content: [{ type: "video" }] }] }), kind("invalid_request_error"));
  await raises("several answers", Anthropic.BadRequestError, client.messages.create({ model, max_tokens: 4, messages, n: 2 }), kind("invalid_request_error"));
  const stranger = new Anthropic({ baseURL, apiKey: "ptn_wrong", maxRetries: 0 });
  await raises("a wrong key", Anthropic.AuthenticationError, stranger.messages.create({ model, max_tokens: 4, messages }), kind("authentication_error"));
  await raises("a stream of no model", Anthropic.NotFoundError, client.messages.create({ model: "nobody-has-this", max_tokens: 4, messages, stream: true }), kind("not_found_error"));
}

for (const part of [message, stream, count, models, refusals]) await part();
done();
