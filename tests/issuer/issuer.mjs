// An OpenID provider that others wrote (oidc-provider, a certified one), with its own keys, discovery document and token
// endpoint. A client with a secret gets an access token as a JWT (RFC 9068) for the audience that it asks for.
//
// Usage: node issuer.mjs MODULES ISSUER CERTIFICATE KEY. Says "ready" when it listens on port 443 of the issuer's host.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { lookup } from 'node:dns/promises';
import { pathToFileURL } from 'node:url';

const [modules, issuer, certificate, key] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'etl',
    client_secret: 'secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  }],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'api:read',
        audience: resource.replace('urn:', ''),
        accessTokenTTL: 300,
        accessTokenFormat: 'jwt',
      }),
    },
  },
  extraTokenClaims: () => ({ repository: 'acme/etl', run_id: '7' }),
});

const { address } = await lookup(new URL(issuer).hostname, 4);
const options = { cert: readFileSync(certificate), key: readFileSync(key) };
createServer(options, provider.callback()).listen(443, address, () => console.log('ready'));
