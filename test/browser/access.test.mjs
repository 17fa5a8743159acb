// People and tokens, by keyboard alone: who may do what in Muster itself. The
// people come from a real provider of the organisation (test/sso).
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startProvider } from "../sso/provider.mjs";
import { serve } from "./muster.mjs";
import { launch, narrow, visit, wide } from "./visitor.mjs";

let browser;
let provider;
let server;
let folder;
let ada;

async function freePort() {
  const s = createServer().listen(0, "127.0.0.1");
  await once(s, "listening");
  const { port } = s.address();
  s.close();
  await once(s, "close");
  return port;
}

before(async () => {
  browser = await launch();
  const port = await freePort();
  provider = await startProvider(`http://127.0.0.1:${port}`);
  provider.state.people = {
    ada: { name: "Ada Park", email: "ada@example.com", email_verified: true, groups: ["muster-admins"] },
    mara: { name: "Mara Quist", email: "mara@example.com", email_verified: true, groups: ["muster-admins"] },
    eve: { name: "Eve Stone", email: "eve@example.com", email_verified: true, groups: ["viewers"] },
  };
  folder = await mkdtemp(join(tmpdir(), "muster-access-"));
  await writeFile(join(folder, "oidc.secret"), "a-secret-that-only-the-two-know\n", { mode: 0o600 });
  const config = join(folder, "muster.yaml");
  await writeFile(
    config,
    `access:
  sso: {name: Example ID, issuer: "${provider.issuer}", client_id: muster, client_secret_file: ${join(folder, "oidc.secret")}, scopes: [profile, email, groups]}
  roles:
    - {group: muster-admins, role: admin}
    - {group: viewers, role: viewer}
`,
  );
  server = await serve(join(folder, "data"), ["--listen", `127.0.0.1:${port}`, "--config", config]);
  ada = await enter("ada");
});
after(async () => {
  await browser?.close();
  await server?.stop();
  provider?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** A provider is another origin, which is where signing in leads; nothing else may. */
const strange = (v) => v.complaints.filter((c) => !c.startsWith(`another origin: ${provider.issuer}`) && !c.includes("401"));

/** enter signs somebody in with the provider, from the sign-in page, by keyboard. */
async function enter(who, look = {}) {
  provider.state.who = who;
  const v = await visit(browser, { url: server.url, theme: "dark", ...look });
  await v.go("/settings", 'h1:has-text("Sign in")');
  await tabTo(v, /^Sign in with Example ID$/);
  await v.page.keyboard.press("Enter");
  await v.page.locator('h2:has-text("Who you are")').waitFor();
  assert.deepEqual(strange(v), [], `${who} signs in`);
  v.complaints.splice(0);
  return v;
}

/** tabTo presses Tab until the focus is on something with a name, as somebody without a pointer does. */
async function tabTo(v, name, key = "Tab") {
  const passed = [];
  for (let presses = 0; presses < 80; presses++) {
    await v.page.keyboard.press(key);
    const at = await v.page.evaluate(() => {
      const e = document.activeElement;
      const label = e?.ariaLabel ?? (e?.labels?.[0]?.textContent || e?.textContent) ?? "";
      const box = e?.getBoundingClientRect();
      const style = e && getComputedStyle(e);
      return { label: label.trim(), seen: Boolean(box?.width), ring: style ? Number.parseFloat(style.outlineWidth) : 0 };
    });
    passed.push(at.label.slice(0, 40));
    if (!name.test(at.label)) continue;
    assert.ok(at.seen && at.ring >= 2, `the focus on ${at.label} can be seen`);
    return;
  }
  assert.fail(`Tab does not lead to ${name}: ${passed.join(" | ")}`);
}

/** press goes to something by Tab, and presses it. */
async function press(v, name) {
  await tabTo(v, name);
  await v.page.keyboard.press("Enter");
}

describe("API tokens, by keyboard", () => {
  it("are made with a scope, shown once, copied, used, and revoked", async () => {
    const { page } = ada;
    await ada.go("/settings?part=tokens", 'h2:has-text("API tokens")');
    await press(ada, /^Make a token$/);
    const dialog = page.locator("dialog[open]");
    await dialog.locator('h2:has-text("Make a token")').waitFor();
    await tabTo(ada, /^Name/);
    await page.keyboard.type("report-job");
    await tabTo(ada, /^Expires/);
    await page.keyboard.type("in 30");
    await tabTo(ada, /^Role/);
    await page.keyboard.type("analyst");
    await tabTo(ada, /^Only team/);
    await page.keyboard.type("payments");
    await tabTo(ada, /^Only environment/);
    await page.keyboard.type("production");
    await ada.accessible("a token that is being made");
    await page.keyboard.press("Enter");

    await dialog.locator('h2:has-text("The token is made")').waitFor();
    await ada.accessible("the key, shown once");
    const key = (await dialog.locator("pre").innerText()).trim();
    assert.match(key, /^muster_tok_/);
    await press(ada, /^Copy key/);
    await dialog.getByText("Copied").waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);

    // It is what was asked for: that role, within that scope, for that long.
    const me = await asToken(key);
    assert.equal(me.status, 200);
    assert.deepEqual(me.body.roles, [{ role: "analyst", team: "payments", environment: "production" }]);
    const days = (Date.parse(me.body.expires) - Date.now()) / 86_400_000;
    assert.ok(days > 29 && days <= 30, `it lives ${days} days`);
    assert.equal((await asToken(key, "/v1/tokens")).status, 403, "it may not make others");

    await press(ada, /^I have stored it$/);
    await dialog.waitFor({ state: "detached" });
    const row = page.locator('ul[aria-label="API tokens"] li', { hasText: "report-job" });
    await row.getByText("analyst of team:payments in production").waitFor();
    const kept = await page.evaluate(() => document.documentElement.outerHTML + JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.ok(!kept.includes(key.split("_")[3]), "the key is nowhere any more");
    await page.reload();
    await row.waitFor();
    assert.ok(!(await page.content()).includes(key.split("_")[3]), "and does not come back");

    await row.getByRole("button", { name: "Revoke…" }).focus();
    await page.keyboard.press("Enter");
    await dialog.getByText("stops at once").waitFor();
    await ada.accessible("the question before a token is revoked");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    assert.equal((await asToken(key)).status, 200, "Escape revokes nothing");
    await page.waitForFunction(() => document.activeElement?.textContent === "Revoke…");
    await page.keyboard.press("Enter");
    await press(ada, /^Revoke$/);
    await row.getByText("revoked").waitFor();
    assert.equal((await asToken(key)).status, 401, "it opens nothing any more");
    ada.calm("tokens");
  });

  it("say why one could not be made, and keep what was written", async () => {
    const { page } = ada;
    await ada.go("/settings?part=tokens", 'h2:has-text("API tokens")');
    await page.getByRole("button", { name: "Make a token" }).focus();
    await page.keyboard.press("Enter");
    await page.getByLabel("Name").fill("bidi\u202Ename");
    await page.keyboard.press("Enter");
    await page.locator("dialog[open]").getByRole("alert").waitFor();
    assert.equal(await page.getByLabel("Name").inputValue(), "bidi\u202Ename");
    await page.keyboard.press("Escape");
    await page.locator("dialog[open]").waitFor({ state: "detached" });
    assert.deepEqual(ada.complaints.splice(0).filter((c) => !/4(00|22)/.test(c)), []);
  });
});

describe("people, by keyboard", () => {
  it("appear when they first come, are given a role, disabled and enabled again", async () => {
    let eve = await enter("eve", { viewport: narrow });
    await eve.go("/points", "text=Nothing asks Muster yet");
    await eve.page.getByRole("button", { name: /Enrol a point\s*, not allowed/ }).waitFor();
    await eve.fits("points of a viewer");

    const { page } = ada;
    await ada.go("/settings?part=people", 'ul[aria-label="People"] li:has-text("Eve Stone")');
    const row = page.locator('ul[aria-label="People"] li', { hasText: "Eve Stone" });
    await row.getByText("viewer").waitFor();
    await ada.accessible("people");
    await row.getByRole("button", { name: "Roles" }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.locator("dialog[open]");
    await dialog.locator('h2:has-text("Roles of Eve Stone")').waitFor();
    await press(ada, /^Add a role$/);
    await tabTo(ada, /^Role/, "Shift+Tab");
    await page.keyboard.type("admin");
    await ada.accessible("the roles of a person");
    await press(ada, /^Save$/);
    await dialog.waitFor({ state: "detached" });
    await row.getByText("admin").waitFor();
    // It holds at once: the session that began with less has ended.
    await eve.page.reload();
    await eve.page.locator('h1:has-text("Sign in")').waitFor();
    await eve.close();
    eve = await enter("eve", { viewport: narrow });
    await eve.go("/points", "text=Nothing asks Muster yet");
    await eve.page.getByRole("button", { name: "Enrol a point", exact: true }).waitFor();

    // Taken back from the message, as it says.
    const message = page.locator('li[data-state="open"]', { hasText: "Roles of Eve Stone changed." });
    await message.getByRole("button", { name: "Undo" }).focus();
    await page.keyboard.press("Enter");
    await row.getByText("admin").waitFor({ state: "detached" });

    await row.getByRole("button", { name: "Disable" }).focus();
    await page.keyboard.press("Enter");
    await row.getByText("disabled").waitFor();
    await eve.page.reload();
    await eve.page.locator('h1:has-text("Sign in")').waitFor();
    provider.state.who = "eve";
    await eve.page.getByRole("link", { name: "Sign in with Example ID" }).click();
    await eve.page.waitForURL(/\/signin\/callback/);
    assert.equal(await eve.page.locator('h2:has-text("Who you are")').count(), 0, "who is disabled does not come in");

    await row.getByRole("button", { name: "Enable" }).focus();
    await page.keyboard.press("Enter");
    await row.getByText("disabled").waitFor({ state: "detached" });
    await eve.close();
    (await enter("eve")).close();
    ada.calm("people");
  });

  it("is one account with each browser listed, and each can be signed out", async () => {
    const other = await enter("ada", { viewport: wide, theme: "light" });
    await ada.go("/settings", 'ul[aria-label="Sessions"] li');
    const sessions = ada.page.locator('ul[aria-label="Sessions"] li');
    await sessions.nth(1).waitFor();
    await ada.accessible("sessions");
    ada.calm("sessions");
    await other.close();
  });
});

describe("policies that open everything", () => {
  /** put sends a library in the session of somebody. */
  const put = (v, files, note, staged = false) =>
    v.page.evaluate(
      async ([files, note, staged]) => {
        const body = JSON.stringify({ note, staged, files: Object.entries(files).map(([name, text]) => ({ name, text })) });
        const reply = await fetch("/v1/snapshots", { method: "POST", headers: { "Content-Type": "application/json", "Muster-Csrf": "1" }, body });
        return { status: reply.status, body: await reply.json() };
      },
      [files, note, staged],
    );
  const narrowly = '@id("first")\n@text("Nobody deletes.")\nforbid (principal, action == Action::"delete", resource == Resource::"ledger");\n';
  const openly = '@id("open")\n@text("Everybody may.")\npermit (principal, action, resource);\n';

  it("wait for a second person, who sees what changes and confirms by keyboard", async () => {
    const mara = await enter("mara");
    assert.equal((await put(ada, { "policies/a.cedar": narrowly }, "the first")).status, 200);
    const sent = await put(ada, { "policies/a.cedar": narrowly, "policies/open.cedar": openly }, "for <b>everybody</b>");
    assert.equal(sent.body.state, "waiting", JSON.stringify(sent.body));

    // Whoever sent it is told that it is not theirs to confirm.
    await ada.go("/policies", `[data-waiting="${sent.body.digest}"]`);
    await ada.page.getByRole("button", { name: /Confirm\s*, not possible: You sent it/ }).waitFor();

    // The other one meets it on the overview, and reads it before anything else.
    await mara.go("/", `[data-waits="${sent.body.digest}"]`);
    await mara.page.getByRole("link", { name: /^Policies.*1 waiting/s }).waitFor();
    await mara.page.locator(`[data-waits="${sent.body.digest}"]`).getByRole("link").click();
    const file = mara.page.locator('[data-file="policies/open.cedar"]');
    await file.getByText("permit (principal, action, resource);").waitFor();
    assert.equal(await mara.page.locator('[data-file="policies/a.cedar"]').count(), 0, "only what differs");
    await mara.page.getByText("for <b>everybody</b>").first().waitFor();
    await mara.accessible("a snapshot that waits");
    await mara.page.getByRole("button", { name: "Confirm", exact: true }).focus();
    await mara.page.keyboard.press("Enter");
    await mara.page.locator('dialog[open] h2:has-text("Put it into force?")').waitFor();
    await mara.accessible("the question before it is confirmed");
    await press(mara, /^Confirm$/);
    await mara.page.locator('section:has(h2:has-text("Snapshot ")) >> text="In force"').first().waitFor();
    await mara.page.locator('dd:has-text("Mara Quist")').first().waitFor();

    // Another one is taken back by whoever sent it.
    const again = await put(mara, { "policies/other.cedar": openly.replaceAll("open", "other") }, "too much");
    assert.equal(again.body.state, "waiting");
    await ada.go(`/policies?snapshot=${again.body.digest}`, `[data-waiting="${again.body.digest}"]`);
    await ada.page.getByRole("button", { name: "Withdraw" }).focus();
    await ada.page.keyboard.press("Enter");
    await ada.page.getByLabel("Why (kept in the audit log)").fill("a slip");
    await ada.page.keyboard.press("Enter");
    await ada.page.getByText("a slip").waitFor();
    await ada.page.locator("[data-waiting]").waitFor({ state: "detached" });

    // What was before comes back as a new entry, with a reason.
    await ada.go("/policies?view=history", '[data-state="active"]');
    await ada.page.locator('[data-snapshot]', { hasText: "the first" }).getByRole("link").click();
    await ada.page.getByRole("button", { name: "Go back to it" }).focus();
    await ada.page.keyboard.press("Enter");
    const go = ada.page.locator("dialog[open]").getByRole("button", { name: "Put into force" });
    assert.ok(await go.isDisabled(), "a reason is needed");
    await ada.page.getByLabel("Why (required, kept in the audit log)").fill("it stopped the till");
    await ada.page.keyboard.press("Enter");
    await ada.page.locator("dialog[open]").waitFor({ state: "detached" });
    await ada.go("/policies?view=history", '[data-state="active"]:has-text("it stopped the till")');
    for (const v of [ada, mara]) {
      for (const [path, ready] of [["/policies", '[data-policy="first"]'], ["/policies?view=history", "[data-snapshot]"]]) {
        await v.go(path, ready);
        await v.accessible(path);
        await v.fits(path);
      }
      v.calm("policies");
    }
    await mara.close();
  });

  it("or come by gates are paused and taken back by keyboard", async () => {
    await ada.go("/policies", "[data-policy]");
    const sent = await put(ada, { "policies/a.cedar": narrowly.replace("Nobody", "<b>Nobody</b>") }, "by <b>gates</b>", true);
    assert.equal(sent.body.state, "staged", JSON.stringify(sent.body));
    await ada.go("/policies", '[data-promotion="shadow"]');
    await ada.page.locator('[aria-label="Gates"] [aria-current="step"]', { hasText: "Shadow" }).waitFor();
    await ada.page.getByText("by <b>gates</b>").first().waitFor();
    await ada.accessible("policies on their way into force");
    await ada.page.getByRole("button", { name: "Pause" }).focus();
    await ada.page.keyboard.press("Enter");
    await ada.page.locator('[aria-label="Gates"]', { hasText: "paused" }).waitFor();
    await ada.page.locator('[data-hold="paused"]', { hasText: "Resume has it go on" }).waitFor();
    await ada.page.locator('[data-hold="paused"]', { hasText: "It has waited for that since" }).waitFor(); // a moment later
    await ada.page.getByRole("button", { name: "Open the next gate" }).focus();
    await ada.page.keyboard.press("Enter");
    await ada.page.locator("dialog[open]").getByRole("button", { name: "Open it" }).click();
    await ada.page.locator('dialog[open] [role="alert"]', { hasText: "Not opened: the promotion is paused" }).waitFor();
    await ada.accessible("a gate that stays closed");
    assert.deepEqual(ada.complaints.splice(0).filter((c) => !c.includes("409")), []);
    await ada.page.keyboard.press("Escape");
    await ada.page.locator("dialog[open]").waitFor({ state: "detached" });
    await ada.page.getByRole("button", { name: "Abort" }).focus();
    await ada.page.keyboard.press("Enter");
    await ada.page.getByLabel("Why (kept in the audit log)").fill("only a drill");
    await ada.page.keyboard.press("Enter");
    await ada.page.locator("[data-promotion]").waitFor({ state: "detached" });
    await ada.go(`/policies?snapshot=${sent.body.digest}`, 'text="Withdrawn"');
  });

  it("are read down to 320 pixels, in both themes", async () => {
    for (const theme of ["dark", "light"]) {
      const eve = await enter("eve", { viewport: narrow, theme });
      await eve.go("/policies?view=history", "[data-snapshot]");
      await eve.accessible("history");
      await eve.fits("history");
      await eve.page.locator("[data-snapshot]", { hasText: "for <b>everybody</b>" }).first().getByRole("link").click();
      await eve.page.locator("[data-file]").first().waitFor();
      await eve.accessible("a snapshot");
      await eve.fits("a snapshot");
      await eve.picture(`out/snapshot-${theme}.png`);
      eve.calm("a snapshot");
      await eve.close();
    }
  });
});

describe("points, by keyboard", () => {
  /** open goes to a dialog of the point. */
  const open = async (v, button, title) => {
    await v.go("/points", 'ul[aria-label="Enforcement points"] li');
    await v.page.getByRole("button", { name: button, exact: true }).focus();
    await v.page.keyboard.press("Enter");
    const dialog = v.page.locator("dialog[open]");
    await dialog.locator(`h2:has-text("${title}")`).waitFor();
    return dialog;
  };
  const point = () => ada.page.evaluate(async () => (await (await fetch("/v1/points")).json()).items[0]);

  before(async () => {
    await ada.go("/points", "text=Nothing asks Muster yet");
    const status = await ada.page.evaluate(async () => {
      const headers = { "Content-Type": "application/json", "Muster-Csrf": "1" };
      return (await fetch("/v1/points", { method: "POST", headers, body: JSON.stringify({ name: "edge" }) })).status;
    });
    assert.equal(status, 201);
  });

  it("sign their decisions when they are told to, and stop when that is taken back", async () => {
    const dialog = await open(ada, "Change", "Point edge");
    const sign = dialog.getByRole("checkbox", { name: /^Sign an assertion of each decision/ });
    assert.equal(await sign.isChecked(), false);
    await tabTo(ada, /^Sign an assertion of each decision/);
    await ada.page.keyboard.press("Space");
    assert.equal(await sign.isChecked(), true);
    await ada.accessible("a point that is changed");
    await press(ada, /^Save$/);
    // The message stays while somebody is on it, and goes by itself otherwise.
    await ada.page.locator('li[data-state="open"]', { hasText: "only observes" }).getByRole("button", { name: "Undo" }).focus();
    await dialog.waitFor({ state: "detached" });
    const signs = ada.page.locator('ul[aria-label="Enforcement points"] li', { hasText: "signs its decisions" });
    await signs.waitFor();
    assert.equal((await point()).assert, true);
    await ada.page.keyboard.press("Enter");
    await signs.waitFor({ state: "detached" });
    assert.equal((await point()).assert, false);
    ada.calm("signing");
  });

  it("are opened without the server by two halves, which two people take", async () => {
    let dialog = await open(ada, "Break-glass", "Break-glass: edge");
    await dialog.getByText("Nobody holds a half yet.").waitFor();
    await ada.accessible("no code");
    const half = async (v, says) => {
      await press(v, /^Take a half$/);
      const shown = v.page.locator("dialog[open]");
      await shown.locator('h2:has-text("Your half of the code")').waitFor();
      await shown.getByText(says).waitFor();
      await v.accessible("a half, shown once");
      const text = (await shown.locator("pre").innerText()).trim();
      await press(v, /^Copy half/);
      await shown.getByText("Copied").waitFor();
      assert.equal(await v.page.evaluate(() => navigator.clipboard.readText()), text);
      await press(v, /^I have written it down$/);
      await shown.waitFor({ state: "detached" });
      const kept = await v.page.evaluate(() => document.documentElement.outerHTML + JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
      assert.ok(text.length >= 16 && !kept.includes(text), "the half is nowhere any more");
      return text;
    };
    const first = await half(ada, "It opens nothing by itself.");

    // Nobody gets both.
    dialog = await open(ada, "Break-glass", "Break-glass: edge");
    await dialog.locator("li", { hasText: "One half is out: it opens nothing" }).getByText("held by Ada Park").waitFor();
    await press(ada, /^Take a half$/);
    await dialog.getByRole("alert").getByText("No half was taken").waitFor();
    await ada.accessible("a half that nobody gets");
    assert.deepEqual(ada.complaints.splice(0).filter((c) => !c.includes("409")), []);
    await ada.page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });

    const mara = await enter("mara", { viewport: narrow, theme: "light" });
    const other = await open(mara, "Break-glass", "Break-glass: edge");
    await mara.fits("the codes of a point");
    assert.notEqual(await half(mara, "Both halves are out"), first);
    await other.waitFor({ state: "detached" });
    mara.calm("the second half");
    await mara.close();

    // It is withdrawn by one more press than one.
    dialog = await open(ada, "Break-glass", "Break-glass: edge");
    const code = dialog.locator('ul[aria-label="Break-glass codes"] li');
    await code.getByText("Ready").waitFor();
    await code.getByText("held by Ada Park and Mara Quist").waitFor();
    await press(ada, /^Withdraw$/);
    await press(ada, /^Withdraw: both halves become paper$/);
    await code.getByText("Withdrawn", { exact: true }).waitFor();
    assert.equal(await code.getByRole("button").count(), 0, "there is nothing left to withdraw");
    await ada.page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    ada.calm("break-glass");
  });

  it("are left alone by whoever may only look", async () => {
    const eve = await enter("eve", { viewport: narrow });
    await eve.go("/points", 'ul[aria-label="Enforcement points"] li');
    await eve.page.getByRole("button", { name: /^Break-glass\s*, not allowed/ }).focus();
    await eve.page.keyboard.press("Enter");
    assert.equal(await eve.page.locator("dialog[open]").count(), 0);
    await eve.fits("points of a viewer");
    eve.calm("points of a viewer");
    await eve.close();
  });
});

async function asToken(key, path = "/v1/me") {
  const reply = await fetch(server.url + path, { headers: { authorization: `Bearer ${key}` } });
  return { status: reply.status, body: await reply.json() };
}
