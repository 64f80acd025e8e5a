// Has a model call tools by the official packages of OpenAI and Anthropic for Node.js:
// as chat completions, responses and messages, whole and as streams. The model must be
// one that can; the simulated engine's can.
//
// Environment: POTERNE_URL, POTERNE_API_KEY, POTERNE_CHAT_MODEL_NAME.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

import { check, done, raises } from "./check.mjs";

const url = process.env.POTERNE_URL;
const apiKey = process.env.POTERNE_API_KEY;
const model = process.env.POTERNE_CHAT_MODEL_NAME;
const ask = [{ role: "user", content: "What is the weather in Paris?" }];
const weather = { name: "weather", description: "Tells the weather of a city." };
const schema = { type: "object", properties: { city: { type: "string" } } };

const openai = new OpenAI({ baseURL: url + "/v1", apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });

async function chat() {
  const tools = [{ type: "function", function: { ...weather, parameters: schema } }];
  const answer = await openai.chat.completions.create({ model, messages: ask, tools, tool_choice: "required" });
  const call = answer.choices[0].message.tool_calls[0];
  check("chat: called", call.function.name === "weather" && JSON.parse(call.function.arguments) && answer.choices[0].finish_reason === "tool_calls", answer);
  const told = await openai.chat.completions.create({ model, max_tokens: 4, messages: [...ask, answer.choices[0].message, { role: "tool", tool_call_id: call.id, content: "Sunny." }] });
  check("chat: told", told.choices[0].message.content, told);
  const whole = await openai.chat.completions.stream({ model, messages: ask, tools, tool_choice: "required" }).finalChatCompletion();
  check("chat: streamed", whole.choices[0].message.tool_calls[0].function.name === "weather", whole);
  const run = openai.chat.completions.runTools({
    model, messages: ask, max_tokens: 4, tool_choice: { type: "function", function: { name: "weather" } },
    tools: [{ type: "function", function: { ...weather, parameters: schema, parse: JSON.parse, function: () => "Sunny." } }],
  });
  check("chat: runner", (await run.finalFunctionToolCallResult()) === "Sunny.", run.messages);
  await raises("chat: a tool that nobody has", OpenAI.BadRequestError,
    openai.chat.completions.create({ model, messages: ask, tools, tool_choice: { type: "function", function: { name: "other" } } }), { param: "tool_choice.function.name" });
}

async function responses() {
  const tools = [{ type: "function", ...weather, parameters: schema, strict: false }];
  const events = openai.responses.stream({ model, input: ask, tools, tool_choice: "required" });
  const kinds = [];
  for await (const event of events) kinds.push(event.type);
  const first = await events.finalResponse();
  const call = first.output.find((item) => item.type === "function_call");
  check("responses: called", call?.name === "weather" && JSON.parse(call.arguments), first);
  check("responses: events", kinds.includes("response.function_call_arguments.delta") && kinds.includes("response.function_call_arguments.done"), kinds);
  const told = await openai.responses.create({
    model, previous_response_id: first.id, max_output_tokens: 4, tools, input: [{ type: "function_call_output", call_id: call.call_id, output: "Sunny." }],
  });
  check("responses: told", told.output_text, told);
}

async function messages() {
  const tools = [{ ...weather, input_schema: schema }];
  const asked = { model, max_tokens: 16, messages: ask, tools, tool_choice: { type: "any" } };
  const answer = await anthropic.messages.create(asked);
  const use = answer.content.find((b) => b.type === "tool_use");
  check("messages: used", use?.name === "weather" && typeof use.input === "object" && answer.stop_reason === "tool_use", answer);
  const told = await anthropic.messages.create({
    model, max_tokens: 4, tools,
    messages: [...ask, { role: "assistant", content: answer.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "Sunny." }] }],
  });
  check("messages: told", told.content[0].text, told);
  const whole = await anthropic.messages.stream(asked).finalMessage();
  check("messages: streamed", whole.content.find((b) => b.type === "tool_use")?.name === "weather" && whole.stop_reason === "tool_use", whole);
  const plain = await anthropic.messages.countTokens({ model, messages: ask });
  const tooled = await anthropic.messages.countTokens({ model, messages: ask, tools });
  check("messages: tools count", tooled.input_tokens >= plain.input_tokens, { plain, tooled });
}

for (const part of [chat, responses, messages]) await part();
done();
