// Uses the official OpenAI package for Node.js as its users do: only baseURL and key
// changed. What is asked and looked at is as in check_openai.py, and what the package
// itself makes of it: types of errors, helpers for streams, pages.
//
// Environment: POTERNE_URL, POTERNE_API_KEY, POTERNE_CHAT_MODEL_NAME,
// POTERNE_EMBEDDING_MODEL_NAME, POTERNE_DIMENSIONS. Exits 1 at the first thing that is
// not as OpenAI's own service would have it.

import OpenAI from "openai";

import { check, done, raises } from "./check.mjs";

const baseURL = process.env.POTERNE_URL + "/v1";
const apiKey = process.env.POTERNE_API_KEY;
const CHAT = process.env.POTERNE_CHAT_MODEL_NAME;
const EMBEDDING = process.env.POTERNE_EMBEDDING_MODEL_NAME;
const DIMENSIONS = Number(process.env.POTERNE_DIMENSIONS);
const HELLO = [{ role: "user", content: "Say hello." }];

const client = new OpenAI({ baseURL, apiKey, timeout: 180_000, maxRetries: 0 });

async function chat() {
  const answer = await client.chat.completions.create({ model: CHAT, messages: HELLO, max_tokens: 12, temperature: 0, seed: 7, n: 2 });
  check("chat: two answers", answer.choices.length === 2 && answer.choices.every((c) => c.message.content.trim()), answer);
  check("chat: usage", answer.usage.total_tokens === answer.usage.prompt_tokens + answer.usage.completion_tokens, answer.usage);
  check("chat: id and model", answer.id && answer.model === CHAT && answer.object === "chat.completion", answer);
  check("chat: request id", Boolean(answer._request_id), answer);
  const { response } = await client.chat.completions.create({ model: CHAT, messages: HELLO, max_tokens: 2 }).withResponse();
  check("chat: headers", response.headers.get("x-poterne-model").startsWith(CHAT + "@v"), response.headers);
}

async function stream() {
  let text = "", finish, usage;
  const chunks = await client.chat.completions.create({ model: CHAT, messages: HELLO, max_tokens: 12, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of chunks) {
    text += chunk.choices[0]?.delta.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  check("stream: text", text.trim(), text);
  check("stream: finish_reason", ["stop", "length"].includes(finish), finish);
  check("stream: usage", usage.completion_tokens > 0, usage);
  const final = await client.chat.completions.stream({ model: CHAT, messages: HELLO, max_tokens: 8 }).finalChatCompletion().catch((e) => e);
  check("stream: helper", final.constructor.name === "LengthFinishReasonError" || final.choices?.[0].message.content, final);
  const left = await client.chat.completions.create({ model: CHAT, messages: HELLO, max_tokens: 64, stream: true });
  for await (const chunk of left) {
    check("stream: left early", chunk.object === "chat.completion.chunk", chunk);
    break;
  }
}

async function embeddings() {
  const input = ["a gate", "a wall"];
  const coded = await client.embeddings.create({ model: EMBEDDING, input });
  const floats = await client.embeddings.create({ model: EMBEDDING, input, encoding_format: "float" });
  check("embeddings: number", coded.data.map((d) => d.index).join() === "0,1", coded);
  check("embeddings: dimensions", [...coded.data, ...floats.data].every((d) => d.embedding.length === DIMENSIONS));
  const apart = Math.max(...coded.data[1].embedding.map((v, i) => Math.abs(v - floats.data[1].embedding[i])));
  check("embeddings: base64 is float", apart < 1e-3, apart);
}

async function models() {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  check("models: list", names.includes(CHAT) && names.includes(EMBEDDING), names);
  check("models: retrieve", (await client.models.retrieve(CHAT)).id === CHAT);
}

async function responses() {
  const first = await client.responses.create({ model: CHAT, input: "Say hello.", max_output_tokens: 12, metadata: { k: "v" } });
  check("response: text", first.output_text.trim() && (first.status === "incomplete" ? first.completed_at === null : first.completed_at >= first.created_at), first);
  check("response: status", ["completed", "incomplete"].includes(first.status), first);
  check("response: usage", first.usage.total_tokens === first.usage.input_tokens + first.usage.output_tokens, first.usage);
  const second = await client.responses.create({ model: CHAT, input: [{ role: "user", content: "Again." }], previous_response_id: first.id, max_output_tokens: 4 });
  check("response: goes on", second.previous_response_id === first.id && second.usage.input_tokens > first.usage.input_tokens, second);
  const kept = await client.responses.retrieve(first.id);
  check("response: kept", kept.output_text === first.output_text && kept.metadata.k === "v", kept);
  const items = [];
  for await (const item of client.responses.inputItems.list(second.id, { order: "asc", limit: 1 })) items.push(item.role);
  check("response: input items, page by page", items.join() === "user,assistant,user", items);
  const counted = await client.responses.inputTokens.count({ model: CHAT, input: "Say hello." });
  check("response: tokens counted", counted.input_tokens === first.usage.input_tokens && counted.object === "response.input_tokens", counted);
  await raises("response: cancelled", OpenAI.BadRequestError, client.responses.cancel(first.id));
  await client.responses.delete(first.id);
  await raises("response: forgotten", OpenAI.NotFoundError, client.responses.retrieve(first.id), { status: 404 });
  await raises("response: a tool that is not there", OpenAI.BadRequestError,
    client.responses.create({ model: CHAT, input: "x", tools: [{ type: "web_search" }] }), { param: "tools[0].type" });
  await raises("response: several answers", OpenAI.BadRequestError, client.responses.create({ model: CHAT, input: "x", n: 2 }), { param: "n" });
}

async function responseEvents() {
  const kinds = [];
  let text = "", last;
  const events = await client.responses.create({ model: CHAT, input: "Say hello.", max_output_tokens: 12, stream: true });
  const numbers = [];
  for await (const event of events) {
    numbers.push(event.sequence_number);
    kinds.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event;
  }
  check("response: sequence", numbers.every((n, i) => n === i), numbers);
  check("response: stream", kinds[0] === "response.created" && ["response.completed", "response.incomplete"].includes(last.type), kinds);
  check("response: streamed text", text && last.response.output[0].content[0].text === text, last);
  const final = await client.responses.stream({ model: CHAT, input: "Say hello.", max_output_tokens: 12 }).finalResponse();
  check("response: helper", final.output_text.trim(), final);
}

async function conversations() {
  const talk = await client.conversations.create({ metadata: { topic: "names" }, items: [{ type: "message", role: "user", content: "My name is Ada." }] });
  check("conversation: made", talk.id.startsWith("conv_") && talk.object === "conversation" && talk.metadata.topic === "names" && talk.created_at > 0, talk);
  check("conversation: retrieved", (await client.conversations.retrieve(talk.id)).metadata.topic === "names");
  check("conversation: noted", (await client.conversations.update(talk.id, { metadata: { topic: "weather" } })).metadata.topic === "weather");
  const made = await client.conversations.items.create(talk.id, { items: [
    { type: "message", role: "assistant", content: [{ type: "output_text", text: "Hello Ada.", annotations: [] }] },
    { type: "function_call", call_id: "c1", name: "weather", arguments: "{}" }, { type: "function_call_output", call_id: "c1", output: "Sun" }] });
  check("conversation: items made", made.data.map((i) => i.type).join() === "message,function_call,function_call_output" && made.last_id === made.data[2].id, made);
  const answer = await client.responses.create({ model: CHAT, input: "Who am I?", conversation: { id: talk.id }, max_output_tokens: 8 });
  check("conversation: response", answer.conversation.id === talk.id && answer.output_text, answer);
  const items = [];
  for await (const item of client.conversations.items.list(talk.id, { order: "asc", limit: 2, include: ["message.output_text.logprobs"] })) items.push(item);
  check("conversation: items, page by page", items.map((i) => i.role ?? i.type).join() === "user,assistant,function_call,function_call_output,user,assistant", items);
  check("conversation: an answer's item", items[5].content[0].text === answer.output_text, items[5]);
  check("conversation: an item", (await client.conversations.items.retrieve(items[0].id, { conversation_id: talk.id })).content[0].text === "My name is Ada.");
  check("conversation: an item deleted", (await client.conversations.items.delete(items[0].id, { conversation_id: talk.id })).id === talk.id);
  await raises("conversation: the item is gone", OpenAI.NotFoundError, client.conversations.items.retrieve(items[0].id, { conversation_id: talk.id }), { status: 404 });
  const gone = await client.conversations.delete(talk.id);
  check("conversation: deleted", gone.deleted && gone.object === "conversation.deleted" && gone.id === talk.id, gone);
  await raises("conversation: gone", OpenAI.NotFoundError, client.conversations.retrieve(talk.id), { status: 404 });
  await raises("conversation: not begun again", OpenAI.NotFoundError, client.responses.create({ model: CHAT, input: "x", conversation: talk.id }));
  await raises("conversation: too many items", OpenAI.BadRequestError,
    client.conversations.create({ items: Array(21).fill({ role: "user", content: "x" }) }), { param: "items" });
}

async function moderation() {
  const answer = await client.moderations.create({ input: ["Hello.", "Write to ada@example.org."] });
  check("moderation: flagged", answer.results.map((r) => r.flagged).join() === "false,true", answer);
  check("moderation: categories", answer.results[1].categories["pii/email"] === true, answer);
}

async function errors() {
  const ask = (body, c = client) => c.chat.completions.create({ model: CHAT, messages: HELLO, ...body });
  await raises("error: unknown model", OpenAI.NotFoundError, ask({ model: "no-such-model" }), { code: "model_not_found", status: 404 });
  await raises("error: unknown model, streamed", OpenAI.NotFoundError, ask({ model: "no-such-model", stream: true }));
  const stranger = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
  await raises("error: wrong key", OpenAI.AuthenticationError, ask({}, stranger), { code: "invalid_api_key" });
  await raises("error: bad request", OpenAI.BadRequestError, ask({ messages: [{ role: "king", content: "hi" }] }), { param: "messages[0].role" });
  await raises("error: context", OpenAI.BadRequestError, ask({ messages: [{ role: "user", content: "many words ".repeat(60000) }] }), { code: "context_length_exceeded" });
  const aborted = await ask({ max_tokens: 512, stream: true });
  aborted.controller.abort();
  for await (const chunk of aborted) check("error: nothing after it was given up", false, chunk);
}

for (const part of [chat, stream, embeddings, models, responses, responseEvents, conversations, moderation, errors]) await part();
done();
