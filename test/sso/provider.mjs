// A provider as an organisation has one: oidc-provider, with people who are
// whoever the test says. Whoever comes is signed in at once.
import { createServer } from "node:http";
import { once } from "node:events";
import { Provider } from "oidc-provider";

const scopes = ["openid", "profile", "email", "groups"];

/** startProvider serves people {id: claims} on loopback; `who` signs in next. */
export async function startProvider(muster) {
  const state = { people: {}, who: "" };
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "muster",
        client_secret: "a-secret-that-only-the-two-know",
        redirect_uris: [`${muster}/signin/callback`],
        post_logout_redirect_uris: [`${muster}/`],
        response_types: ["code"],
        grant_types: ["authorization_code"],
      },
    ],
    scopes,
    claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
    conformIdTokenClaims: false,
    cookies: { keys: ["of the test"] },
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
    pkce: { required: () => true },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...state.people[id] }) }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope(scopes.join(" "));
      await grant.save();
      return grant;
    },
  });
  const handle = provider.callback();
  server.on("request", (req, res) => {
    if (!req.url.startsWith("/interaction/")) return handle(req, res);
    return provider.interactionFinished(req, res, { login: { accountId: state.who } });
  });
  return { issuer, state, stop: () => (server.closeAllConnections(), server.close()) };
}
