// People approve and deny: a question arrives while the page is open, is
// answered by keyboard, and the same request passes once.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { fresh } from "./muster.mjs";
import { launch, narrow, visit, wide } from "./visitor.mjs";

const narrowest = { width: 320, height: 640 };

describe("approvals", () => {
  let browser;
  let server;
  let storageState;
  let point;
  let key;

  /** ask asks as a proxy does, for one operation of the identity. */
  const ask = async (id) => {
    const reply = await fetch(`${server.url}/enforce/forward-auth`, {
      headers: {
        "X-Original-Method": "GET", "X-Original-URI": `/payments/${id}`, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com",
        "X-Forwarded-For": "203.0.113.7", "Muster-Point-Authorization": `Bearer ${point}`, Authorization: `Bearer ${key}`,
      },
    });
    return { status: reply.status, body: await reply.text() };
  };

  before(async () => {
    browser = await launch();
    server = await fresh();
    const v = await visit(browser, { url: server.url, theme: "dark" });
    await v.go(server.link, "h1");
    storageState = await v.context.storageState();
    const send = (method, path, body, type = "application/json") =>
      v.page.evaluate(
        async ([method, path, body, type]) => {
          const reply = await fetch(path, { method, headers: { "Content-Type": type, "Muster-Csrf": "1" }, body });
          if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
          return reply.headers.get("Content-Type")?.includes("json") ? reply.json() : undefined;
        },
        [method, path, typeof body === "string" ? body : JSON.stringify(body), type],
      );
    await send("PUT", "/v1/documents/resources.yaml", "- {id: payments/api, environment: production, sensitivity: 1}\n", "text/plain");
    await send("PUT", "/v1/documents/routes.yaml", '- {host: api.example.com, path: "/payments/{id}", methods: {GET: read}, resource: payments/api}\n', "text/plain");
    await send("PUT", "/v1/documents/policies.cedar", '@id("a-person") @text("A person has to say yes to it.") @stepup("approve")\nforbid (principal, action, resource) unless { context has approval };\n', "text/plain");
    point = (await send("POST", "/v1/points", { name: "edge" })).key;
    await send("PATCH", "/v1/points/edge", { mode: "enforce" });
    const who = await send("POST", "/v1/identities", { name: "settler", environment: "production", owner: "team:payments" });
    key = (await send("POST", `/v1/identities/${who.id}/credentials`, {})).key;
    await v.close();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  it("arrive live, are answered by keyboard, and let one request pass", async () => {
    const v = await visit(browser, { url: server.url, storageState, theme: "dark" });
    await v.go("/approvals", "text=Nobody waits for an answer here");
    const refused = await ask("1");
    assert.equal(refused.status, 403);
    assert.match(refused.body, /"task":\{"id":"apr_\w+","status":"pending"\}/);
    const question = v.page.locator("[data-approval]", { hasText: "settler" });
    await question.waitFor();
    await question.getByRole("button", { name: "Approve" }).focus();
    await v.page.keyboard.press("Enter");
    await v.page.getByRole("dialog", { name: "Approve this request?" }).waitFor();
    await v.accessible("the dialog");
    await v.page.getByLabel("Why (kept in the audit log)").fill("seen <b>with</b> the team");
    await v.page.keyboard.press("Enter");
    await v.page.locator("text=Nobody waits for an answer here").waitFor();
    assert.equal((await ask("1")).status, 200, "the same request passes");
    assert.equal((await ask("1")).status, 403, "once");
    await v.go("/approvals?view=history", "text=Approved and used");
    await v.page.getByText("seen <b>with</b> the team").waitFor();
    v.calm("approving");
    await v.close();
  });

  it("are denied, accessibly, in both themes, down to 320 pixels", async () => {
    await ask("2");
    for (const theme of ["dark", "light"]) {
      for (const viewport of [wide, narrow, narrowest]) {
        const v = await visit(browser, { url: server.url, storageState, theme, viewport });
        await v.go("/approvals", "[data-approval]");
        await v.accessible(`approvals ${theme} ${viewport.width}`);
        await v.fits(`approvals ${theme} ${viewport.width}`);
        await v.picture(`out/approvals-${theme}-${viewport.width}.png`);
        if (process.env.UPDATE_IMAGES && viewport === wide) await v.picture(`../../docs/images/approvals-${theme}.png`);
        v.calm(`approvals ${theme} ${viewport.width}`);
        await v.close();
      }
    }
    const v = await visit(browser, { url: server.url, storageState, theme: "light" });
    await v.go("/approvals", "[data-approval]");
    for (let left = await v.page.locator("[data-approval]").count(); left > 0; left--) {
      await v.page.getByRole("button", { name: "Deny" }).first().click();
      await v.page.getByRole("dialog", { name: "Deny this request?" }).getByRole("button", { name: "Deny" }).click();
      await v.page.waitForFunction((n) => document.querySelectorAll("[data-approval]").length < n, left);
    }
    assert.notEqual((await ask("2")).status, 200);
    v.calm("denying");
    await v.close();
  });

  it("leave with the decisions that the page is narrowed to, as a file", async () => {
    assert.equal((await ask("2")).status, 403);
    const v = await visit(browser, { url: server.url, storageState, theme: "dark", viewport: narrow });
    await v.go("/activity?outcome=step-up", '[role="row"][data-id]');
    for (const [label, name] of [["CSV, for spreadsheets", /\.csv$/], ["JSON Lines, for programs", /\.jsonl$/]]) {
      await v.page.getByRole("button", { name: "Export" }).focus();
      await v.page.keyboard.press("Enter");
      const menu = v.page.getByRole("dialog", { name: "Export" });
      await menu.waitFor();
      await v.accessible("the menu to export");
      await v.fits("the menu to export");
      await menu.getByRole("link", { name: label }).focus();
      const coming = v.page.waitForEvent("download");
      await v.page.keyboard.press("Enter");
      const file = await coming;
      await menu.waitFor({ state: "hidden" });
      assert.match(file.suggestedFilename(), name);
      const lines = (await readFile(await file.path(), "utf8")).trim().split(/\r?\n/);
      const rows = name.test("x.csv") ? lines.slice(1) : lines.map((line) => JSON.parse(line).outcome);
      assert.ok(rows.length > 0 && rows.every((row) => row.includes("step-up")), `only what the page shows: ${rows}`);
    }
    v.calm("exporting");
    await v.close();
    const acts = await visit(browser, { url: server.url, storageState, theme: "light" });
    await acts.go("/settings?part=audit", 'ol[aria-label^="Audit log"] li');
    await acts.page.getByText("decisions.export").first().waitFor();
    await acts.close();
  });

  it("are explained condition by condition, also where the policy has hostile words", async () => {
    const refused = await ask("3");
    const id = JSON.parse(refused.body).decision;
    for (const theme of ["dark", "light"]) {
      for (const viewport of [wide, narrow, narrowest]) {
        const v = await visit(browser, { url: server.url, storageState, theme, viewport });
        await v.go(`/activity?decision=${id}`, 'section[aria-label="forbid a-person"]');
        const policy = v.page.locator('section[aria-label="forbid a-person"]');
        const text = await policy.innerText();
        assert.match(text, /applies/);
        assert.match(text, /false\s+unless\s+context has approval/);
        const unlock = await v.page.getByRole("list", { name: "What would have to be different" }).innerText();
        assert.ok(unlock.length > 10, "it says what would unlock it");
        await v.accessible(`why ${theme} ${viewport.width}`);
        await v.fits(`why ${theme} ${viewport.width}`);
        v.calm(`why ${theme} ${viewport.width}`);
        await v.close();
      }
    }
    const v = await visit(browser, { url: server.url, storageState, theme: "light" });
    await v.go("/activity", "h1");
    const hostile = '@id("hostile") @text("<b>no</b>\u202e") @stepup("approve")\nforbid (principal, action, resource) unless { context has approval || resource.service == "<img src=x onerror=alert(1)>" };\n';
    await v.page.evaluate(
      async (body) => {
        const reply = await fetch("/v1/documents/policies.cedar", { method: "PUT", headers: { "Content-Type": "text/plain", "Muster-Csrf": "1" }, body });
        if (!reply.ok) throw new Error(await reply.text());
      },
      hostile,
    );
    const other = JSON.parse((await ask("4")).body).decision;
    await v.go(`/activity?decision=${other}`, "text=Condition by condition");
    await v.page.getByText("<img src=x onerror=alert(1)>").first().waitFor();
    assert.equal(await v.page.locator("aside img").count(), 0, "a name is text");
    v.calm("hostile policy");
    await v.close();
  });
});
