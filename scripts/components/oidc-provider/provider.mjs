// An OpenID provider for tests: panva's oidc-provider, which is certified, with its
// development interaction pages. It prints nothing of what it is given.
//
//   node provider.mjs PORT CONFIGURATION
//
// CONFIGURATION is a JSON file: {clients, accounts, features, jwks, tls, ...}; accounts
// maps a login name to its claims. Everything is in memory.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { errors, Provider } from 'oidc-provider';

const [port, file] = process.argv.slice(2);
const given = JSON.parse(readFileSync(file, 'utf8'));
const issuer = given.issuer ?? `http://127.0.0.1:${port}`;
const accounts = given.accounts ?? {};

// Where a client shows its certificate, tokens are bound to that.
const certificate = (ctx) => {
  const der = ctx.socket.getPeerCertificate?.()?.raw;
  return der && `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----`;
};

const provider = new Provider(issuer, {
  clients: given.clients,
  jwks: given.jwks,
  scopes: ['openid', 'offline_access', 'profile'],
  claims: { openid: ['sub', ...new Set(Object.values(accounts).flatMap(Object.keys))] },
  // Claims go into the ID token, where a gateway reads them, too.
  conformIdTokenClaims: false,
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Grant: 600, Session: 600, ClientCredentials: 600 },
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    dPoP: { enabled: true },
    mTLS: { enabled: true, certificateBoundAccessTokens: true, getCertificate: certificate },
    backchannelLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      // A resource whose name ends in /opaque gets opaque tokens, others JWTs.
      getResourceServerInfo: (_ctx, resource) => {
        if (!URL.canParse(resource)) throw new errors.InvalidTarget();
        return {
          scope: 'read', audience: resource, accessTokenTTL: 600,
          accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
          jwt: { sign: { alg: given.algorithm ?? 'RS256' } },
        };
      },
    },
    ...given.features,
  },
  // It would call no address of this machine otherwise.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  // What a client is in the tokens that it gets for itself.
  extraTokenClaims: (_ctx, token) => given.token_claims?.[token.clientId],
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
});
provider.proxy = Boolean(given.proxy);
provider.listen(Number(port), '127.0.0.1');
if (given.tls) {
  const { key, cert } = given.tls;
  createServer({ key, cert, requestCert: true, rejectUnauthorized: false }, provider.callback()).listen(given.tls.port, '127.0.0.1');
}
