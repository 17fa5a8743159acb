// People sign in at bin/muster with a real provider, over HTTP by hand.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startProvider } from "./provider.mjs";

let provider, muster, url, dir, firstToken;

async function freePort() {
  const s = createServer().listen(0, "127.0.0.1");
  await once(s, "listening");
  const { port } = s.address();
  s.close();
  await once(s, "close");
  return port;
}

/** A browser keeps cookies by origin and follows redirects. */
class Browser {
  jars = {};
  async request(address, init = {}) {
    const { origin } = new URL(address);
    const jar = (this.jars[origin] ??= {});
    const cookie = Object.entries(jar).map(([k, v]) => `${k}=${v}`).join("; ");
    const res = await fetch(address, { ...init, redirect: "manual", headers: { ...(cookie ? { cookie } : {}), ...init.headers } });
    for (const line of res.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === "" || /max-age=(0|-)|expires=Thu, 01 Jan 1970/i.test(line)) delete jar[name];
      else jar[name] = value;
    }
    return res;
  }
  async follow(address) {
    for (let hops = 0; hops < 12; hops++) {
      const res = await this.request(address);
      if (res.status < 300 || res.status > 399) return res;
      await res.arrayBuffer();
      address = new URL(res.headers.get("location"), address).href;
    }
    throw new Error(`redirects without end, at ${address}`);
  }
  async signIn(who) {
    provider.state.who = who;
    return this.follow(`${url}/signin/sso?next=/identities`);
  }
  async me() {
    const res = await this.request(`${url}/v1/me`);
    return { status: res.status, ...(await res.json()) };
  }
}

before(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  provider = await startProvider(url);
  dir = await mkdtemp(join(tmpdir(), "muster-sso-"));
  await writeFile(join(dir, "oidc.secret"), "a-secret-that-only-the-two-know\n", { mode: 0o600 });
  await writeFile(
    join(dir, "muster.yaml"),
    `access:
  sso: {name: Example ID, issuer: "${provider.issuer}", client_id: muster, client_secret_file: ${join(dir, "oidc.secret")}, scopes: [profile, email, groups]}
  roles:
    - {group: muster-admins, role: admin}
    - {group: payments, role: analyst, team: payments}
`,
  );
  const opsPort = await freePort();
  const args = ["serve", "--data", join(dir, "data"), "--listen", `127.0.0.1:${port}`, "--ops-listen", `127.0.0.1:${opsPort}`, "--ext-authz-listen", "off", "--config", join(dir, "muster.yaml")];
  muster = spawn(process.env.MUSTER, args, { stdio: ["ignore", "inherit", "inherit"] });
  for (let tries = 0; ; tries++) {
    const ready = await fetch(`http://127.0.0.1:${opsPort}/readyz`).then((r) => r.ok, () => false);
    if (ready) break;
    assert.ok(tries < 300 && muster.exitCode === null, "the server does not become ready");
    await new Promise((go) => setTimeout(go, 100));
  }
  firstToken = (await readFile(join(dir, "data", "admin.token"), "utf8")).trim();
});

after(async () => {
  if (muster && muster.exitCode === null) {
    muster.kill("SIGTERM");
    await once(muster, "exit");
  }
  provider?.stop();
  if (dir) await rm(dir, { recursive: true, force: true });
});

const asFirst = () => fetch(`${url}/v1/me`, { headers: { authorization: `Bearer ${firstToken}` } });

test("somebody without a role is told so and gets no session", async () => {
  provider.state.people.eve = { name: "Eve", groups: [] };
  const browser = new Browser();
  const res = await browser.signIn("eve");
  assert.equal(res.status, 403);
  assert.match(await res.text(), /hold no role/);
  assert.equal((await browser.me()).status, 401);
  assert.equal((await asFirst()).status, 200);
});

test("an administrator gives a role, disables and enables by the command", async () => {
  const command = async (...args) => {
    const env = { ...process.env, MUSTER_SERVER: url, MUSTER_TOKEN: firstToken };
    const child = spawn(process.env.MUSTER, ["person", ...args, "-o", "json"], { env, stdio: ["ignore", "pipe", "inherit"] });
    let out = "";
    child.stdout.on("data", (part) => { out += part; });
    const [status] = await once(child, "close");
    assert.equal(status, 0, `muster person ${args.join(" ")}`);
    return JSON.parse(out);
  };
  provider.state.people.zoe = { name: "Zoe", email: "zoe@example.com", email_verified: true, groups: [] };
  const browser = new Browser();
  assert.equal((await browser.signIn("zoe")).status, 403);
  assert.ok((await command("list")).some((p) => p.email === "zoe@example.com"));
  await command("set-role", "zoe@example.com", "viewer", "--team", "payments");
  assert.equal((await browser.signIn("zoe")).status, 200);
  assert.deepEqual((await browser.me()).roles, [{ role: "viewer", team: "payments" }]);
  await command("disable", "zoe@example.com");
  assert.equal((await command("show", "zoe@example.com")).disabled, true);
  assert.equal((await browser.me()).status, 401, "the open session is dead");
  assert.equal((await browser.signIn("zoe")).status, 403);
  await command("enable", "zoe@example.com");
  assert.equal((await browser.signIn("zoe")).status, 200);
});

test("roles follow from groups, and change at the next sign-in", async () => {
  provider.state.people.ada = { name: "Ada", email: "ada@example.com", email_verified: true, groups: ["muster-admins", "payments"] };
  const browser = new Browser();
  const res = await browser.signIn("ada");
  const page = await res.text();
  assert.equal(res.status, 200, page);
  assert.match(res.headers.get("refresh"), /\/identities$/);
  const me = await browser.me();
  assert.deepEqual(me.roles, [{ role: "admin" }, { role: "analyst", team: "payments" }]);
  assert.equal(me.name, "Ada");
  assert.equal((await asFirst()).status, 401, "the first administrator token ends");
  const people = await (await browser.request(`${url}/v1/people`)).json();
  assert.ok(people.items.some((p) => p.email === "ada@example.com"));

  provider.state.people.ada.groups = ["payments"];
  assert.equal((await browser.me()).roles.length, 2, "groups are read at a sign-in");
  assert.equal((await browser.signIn("ada")).status, 200);
  assert.deepEqual((await browser.me()).roles, [{ role: "analyst", team: "payments" }]);
  assert.equal((await browser.request(`${url}/v1/people`)).status, 403);
});

test("an answer works once, and in the browser that began only", async () => {
  const mine = new Browser();
  const begun = await mine.request(`${url}/signin/sso`);
  provider.state.who = "ada";
  let at = begun.headers.get("location");
  while (!at.startsWith(`${url}/signin/callback`)) {
    const res = await mine.request(at);
    at = new URL(res.headers.get("location"), at).href;
  }
  assert.equal((await new Browser().request(at)).status, 403, "another browser");
  assert.equal((await mine.request(at)).status, 200);
  assert.equal((await mine.request(at)).status, 403, "again");
});

test("signing out ends the session and leads to the provider", async () => {
  const browser = new Browser();
  assert.equal((await browser.signIn("ada")).status, 200);
  const session = structuredClone(browser.jars[url]);
  const res = await browser.request(`${url}/signin`, { method: "DELETE", headers: { "muster-csrf": "1", "sec-fetch-site": "same-origin" } });
  assert.equal(res.status, 200);
  const { next } = await res.json();
  assert.equal(new URL(next).origin, provider.issuer);
  const end = await browser.request(next);
  assert.equal(end.status, 200, await end.text());
  browser.jars[url] = session;
  assert.equal((await browser.me()).status, 401, "the session is dead, not only forgotten");
});
