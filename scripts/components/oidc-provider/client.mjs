// An OAuth client for tests: panva's openid-client, which is certified. It asks a
// server for a token by client credentials, and calls with it what it is told to.
//
//   node client.mjs < ASKED > DONE
//
// ASKED is {server, algorithm, client_id, client_secret, basic, parameters, dpop,
// calls: [{method, url, other_key}], introspect, revoke}; DONE is {token, token_type,
// scope, answers: [{status, challenge, nonce, proof}], active}. With dpop the token is
// bound to a key that is made for it; other_key calls with another one.
import { readFileSync } from 'node:fs';
import * as client from 'openid-client';

const asked = JSON.parse(readFileSync(0, 'utf8'));
const server = new URL(asked.server);
const auth = asked.basic ? client.ClientSecretBasic(asked.client_secret) : client.ClientSecretPost(asked.client_secret);
const config = await client.discovery(server, asked.client_id, undefined, auth, {
  algorithm: asked.algorithm ?? 'oidc', execute: [client.allowInsecureRequests],
});
// What the last request had as its proof, and the answer to it.
let proof = '';
config[client.customFetch] = (url, options) => {
  proof = new Headers(options.headers).get('dpop') ?? '';
  return fetch(url, options);
};
const handle = async () => client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
const mine = asked.dpop ? await handle() : undefined;

const grant = await client.clientCredentialsGrant(config, asked.parameters ?? {}, { DPoP: mine });
const done = { token: grant.access_token, token_type: grant.token_type, scope: grant.scope, answers: [] };
for (const call of asked.calls ?? []) {
  const DPoP = call.other_key ? await handle() : mine;
  let answer;
  try {
    answer = await client.fetchProtectedResource(config, grant.access_token, new URL(call.url), call.method ?? 'GET', undefined, undefined, { DPoP });
  } catch (err) {
    // An answer with a challenge is thrown.
    answer = err.response ?? err.cause?.response;
    if (!answer) throw err;
  }
  done.answers.push({
    status: answer.status, challenge: answer.headers.get('www-authenticate') ?? '', nonce: answer.headers.get('dpop-nonce') ?? '', proof,
  });
}
if (asked.revoke) await client.tokenRevocation(config, grant.access_token);
if (asked.introspect) done.active = (await client.tokenIntrospection(config, grant.access_token)).active;
process.stdout.write(JSON.stringify(done));
