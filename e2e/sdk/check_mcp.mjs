// Uses the gateway over the Model Context Protocol by both official clients for
// Node.js: @modelcontextprotocol/sdk, of the protocol with a handshake, and
// @modelcontextprotocol/client, of the one without.
//
// Environment: POTERNE_URL, POTERNE_API_KEY, POTERNE_CHAT_MODEL_NAME,
// POTERNE_TEST_STRANGER_KEY, a key of another tenant.

import { Client as Newer, StreamableHTTPClientTransport as NewerTransport } from "@modelcontextprotocol/client";
import { Client as Older } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OlderTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { check, done } from "./check.mjs";

const url = process.env.POTERNE_URL;
const key = process.env.POTERNE_API_KEY;
const model = process.env.POTERNE_CHAT_MODEL_NAME;
const collection = "mcp-check";

async function rest(method, path, body) {
  const answer = await fetch(url + path, {
    method, body: body && JSON.stringify(body), headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
  });
  check(`setting up: ${method} ${path}`, answer.ok || answer.status === 409, await answer.text());
}

async function connect(Client, Transport, secret) {
  const client = new Client({ name: "check", version: "1" });
  const headers = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  await client.connect(new Transport(new URL(url + "/mcp"), { requestInit: { headers } }));
  return client;
}

async function use(name, Client, Transport) {
  const client = await connect(Client, Transport, key);
  check(`${name}: server`, client.getServerVersion().name === "poterne", client.getServerVersion());
  const { tools } = await client.listTools();
  check(`${name}: tools`, tools.map((t) => t.name).sort().join() === "chat,list_collections,list_models,search", tools);
  const found = await client.callTool({ name: "search", arguments: { collection, query: "small gate", top_k: 2 } });
  const first = found.structuredContent.passages[0];
  check(`${name}: search`, first.document_id === "gate" && first.text.includes("postern") && Number.isFinite(first.score), found);
  const collections = await client.callTool({ name: "list_collections", arguments: {} });
  check(`${name}: collections`, collections.structuredContent.collections.some((c) => c.id === collection), collections);
  const models = await client.callTool({ name: "list_models" });
  check(`${name}: models`, models.structuredContent.models.some((m) => m.id === model), models);
  const told = [];
  const said = await client.callTool({ name: "chat", arguments: { model, prompt: "What is a postern?", collection, max_tokens: 24 } },
    ...(Client === Older ? [undefined] : []), { onprogress: (p) => told.push(p) });
  check(`${name}: chat`, said.content[0].text === said.structuredContent.text && said.structuredContent.text && !said.isError, said);
  check(`${name}: citations`, said.structuredContent.citations.some((c) => c.document_id === "gate"), said);
  check(`${name}: progress`, told.length > 0 && told.every((p, i) => i === 0 || p.progress > told[i - 1].progress), told);
  const wrong = await client.callTool({ name: "search", arguments: { collection, query: "x", principals: ["admin"] } });
  check(`${name}: a member that is not there`, wrong.isError && wrong.content[0].text.startsWith("INVALID_ARGUMENT"), wrong);
  await client.close();

  const stranger = await connect(Client, Transport, process.env.POTERNE_TEST_STRANGER_KEY);
  const theirs = await stranger.callTool({ name: "list_collections", arguments: {} });
  check(`${name}: another tenant's list`, !theirs.structuredContent.collections.some((c) => c.id === collection), theirs);
  const unseen = await stranger.callTool({ name: "search", arguments: { collection, query: "gate" } });
  const nothing = await stranger.callTool({ name: "search", arguments: { collection: "there-is-none", query: "gate" } });
  check(`${name}: another tenant's search`, unseen.isError && unseen.content[0].text.replace(collection, "X") === nothing.content[0].text.replace("there-is-none", "X"), { unseen, nothing });
  const asked = await stranger.callTool({ name: "chat", arguments: { model, prompt: "x", collection, max_tokens: 2 } });
  check(`${name}: another tenant's chat`, asked.isError, asked);
  await stranger.close();

  for (const [who, secret] of [["without a key", undefined], ["with a wrong key", "ptn_wrong"]]) {
    const refused = await connect(Client, Transport, secret).then(() => undefined, (e) => e);
    check(`${name}: ${who}`, refused && /401|authent/i.test(`${refused.code} ${refused.status} ${refused.message}`), refused);
  }
}

await rest("POST", "/v1/collections", { id: collection });
await rest("POST", `/v1/collections/${collection}/documents:batchUpsert`, {
  documents: [
    { id: "gate", title: "Gates", text: "A postern is a small gate in the wall of a fortress, away from the main one." },
    { id: "wall", title: "Walls", text: "A curtain wall joins two towers." },
  ],
  refresh: "wait",
});
const challenge = await fetch(url + "/mcp", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
check("challenge", challenge.status === 401 && challenge.headers.get("www-authenticate").includes("Bearer"), challenge.headers);
await use("older", Older, OlderTransport);
await use("newer", Newer, NewerTransport);
done();
