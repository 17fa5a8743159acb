// The pages about identities, points, sources and settings: what people do
// there, and what an attacker's name, a pasted secret or a missing right does.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { demo } from "./muster.mjs";
import { launch, narrow, visit, wide } from "./visitor.mjs";

const row = '[role="row"][data-id]';
let browser;
let company;
let storageState;

before(async () => {
  browser = await launch();
  company = await demo();
  const v = await visit(browser, { url: company.url, theme: "dark" });
  await v.go(company.link, "[data-tile]");
  storageState = await v.context.storageState();
  await v.close();
});
after(async () => {
  await browser?.close();
  await company?.stop();
});

const open = (look = {}) => visit(browser, { url: company.url, storageState, theme: "dark", ...look });

/** asked fetches what a page asked for, with the session, which a client that is no browser does not send over plain HTTP. */
const asked = async (route, options = {}) => {
  const cookie = storageState.cookies.map((c) => `${c.name}=${c.value}`).join("; ");
  return route.fetch({ ...options, headers: { ...(await route.request().allHeaders()), cookie } });
};

/** replace answers every GET below a path with what change makes of the server's own answer. */
const replace = (v, path, change) =>
  v.page.route(path, async (route) => {
    if (route.request().method() !== "GET" || route.request().resourceType() === "eventsource") return route.continue();
    const reply = await asked(route);
    if (!reply.headers()["content-type"]?.includes("json")) return route.fulfill({ response: reply });
    return route.fulfill({ response: reply, json: change(await reply.json()) });
  });

describe("the list of identities", () => {
  it("is narrowed by facets and by the language, and says where a filter is wrong", async () => {
    const v = await open();
    await v.go("/identities", row);
    await v.page.getByRole("checkbox", { name: /IAM user/ }).check();
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "kind:iam-user");
    const field = v.page.getByRole("combobox", { name: "Filter identities" });
    await v.page.keyboard.press("Escape");
    await field.focus();
    await field.press("End");
    await field.pressSequentially(" stat");
    await v.page.getByRole("option", { name: /^static:/ }).waitFor();
    await v.accessible("the completion");
    await field.press("Escape");
    await field.fill("kind:iam-user -owner:*");
    await field.press("Enter");
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "kind:iam-user -owner:*");
    await v.page.locator(`${row}:has-text("team:")`).first().waitFor({ state: "detached" });
    await v.page.locator(row).first().waitFor();
    v.calm("filters");

    await field.fill("kind:iam-user ownr:x");
    await field.press("Enter");
    await v.page.getByRole("alert").getByText("column 15").waitFor();
    assert.equal(await v.page.locator("mark").innerText(), "ownr:x");
    await v.accessible("a wrong filter");
    await v.page.getByRole("button", { name: "Show all" }).click();
    await v.page.locator(row).first().waitFor();
    await v.close();
  });

  it("keeps a view under a name, and takes it back", async () => {
    const v = await open();
    await v.go("/identities?filter=kind%3Aiam-user%20-owner%3A*", row);
    await v.page.getByRole("button", { name: "Save view" }).click();
    await v.page.getByLabel("Name", { exact: true }).fill("Users of nobody");
    await v.page.getByRole("button", { name: "Save", exact: true }).click();
    const view = v.page.getByRole("link", { name: "Users of nobody" });
    await view.waitFor();
    await v.go("/identities", row);
    await view.click();
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "kind:iam-user -owner:*");
    assert.equal(await v.page.locator('ul[aria-label="Views"] [aria-current="page"]').count(), 1);
    await v.page.getByRole("button", { name: "Remove the view Users of nobody" }).click();
    await view.waitFor({ state: "detached" });
    v.calm("views");
    await v.close();
  });

  it("scrolls through a hundred thousand rows by keyboard", async () => {
    const v = await open();
    const all = 100_000;
    const size = 200;
    await replace(v, /\/v1\/identities\/facets/, (facets) => ({ ...facets, total: all }));
    await v.page.route(/\/v1\/identities\?/, async (route) => {
      const reply = await asked(route, { url: `${company.url}/v1/identities?limit=1` });
      const [one] = (await reply.json()).items;
      const at = Number(new URL(route.request().url()).searchParams.get("page_token") ?? 0);
      const items = Array.from({ length: size }, (_, i) => ({ ...one, id: `nhi_${at + i}`, name: `row ${at + i}` }));
      return route.fulfill({ response: reply, json: { items, total: all, next: at + size < all ? String(at + size) : "" } });
    });
    await v.go("/identities", row);
    const grid = v.page.getByRole("grid", { name: "Identities" });
    await v.page.waitForFunction((n) => document.querySelector('[role="grid"]')?.ariaRowCount === n, String(all + 1));
    await v.page.locator(`${row}[tabindex="0"]`).focus();
    // End, held down: each time the rows that came meanwhile are passed, too.
    await v.page.waitForFunction(() => {
      document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true }));
      return Number(document.activeElement?.ariaRowIndex) > 1600;
    });
    assert.ok((await v.page.locator(row).count()) < 80, "only the rows in sight exist");
    await v.page.keyboard.press("Home");
    await v.page.waitForFunction(() => document.activeElement?.dataset.id === "nhi_0");
    assert.equal(await grid.getAttribute("aria-rowcount"), String(all + 1));
    v.calm("many rows");
    await v.close();
  });
});

describe("a pasted secret", () => {
  it("finds its credential, and enters no address, history or storage", async () => {
    const v = await open();
    const addresses = [];
    v.page.on("request", (request) => addresses.push(request.url()));
    await v.go("/identities?filter=owner%3A*%20provider%3Aaws%20static%3Atrue%20environment%3Aproduction", row);
    const id = await v.page.locator(row).first().getAttribute("data-id");
    const made = await v.page.evaluate(async (identity) => {
      const reply = await fetch(`/v1/identities/${identity}/credentials`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "Muster-Csrf": "1" },
        body: "{}",
      });
      return { status: reply.status, ...(await reply.json()) };
    }, id);
    assert.equal(made.status, 201);
    const found = v.page.waitForResponse((r) => r.url().endsWith("/v1/search") && r.request().postData()?.includes(made.key));
    await v.page.keyboard.press("Control+k");
    await v.page.getByRole("combobox", { name: "Search anything" }).fill(made.key);
    const reply = await (await found).text();
    assert.ok(!reply.includes(made.key), "the answer does not repeat the secret");
    await v.page.getByRole("option", { name: /Credential/ }).first().waitFor();
    await v.page.keyboard.press("Enter");
    await v.page.waitForURL((url) => url.pathname === `/identities/${id}` && url.searchParams.get("tab") === "credentials");
    const kept = await v.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, history.state, location.href]));
    const secret = made.key.split("_")[3];
    assert.ok(!kept.includes(secret), "nothing in storage or history");
    assert.ok(addresses.every((a) => !a.includes(secret)), "nothing in an address");
    v.calm("search");
    await v.close();
  });
});

describe("a hostile world", () => {
  const hostile = [
    '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>',
    "pay\u202Egnp.exe\u202C\u200B\u2066x\u2069",
    "\u001b[2J\u001b]0;owned\u0007\u009b31m",
    '=HYPERLINK("https://evil.example","x")',
    "раypаl-ѕvс ａｄｍｉｎ",
    "javascript:alert(1)//\n\r\n\t'\"`${7*7}{{7*7}}",
    "x".repeat(65_536),
    `${"\u0301".repeat(400)}zalgo`,
  ];
  const outside = new Set([
    "name", "path", "native", "account", "provider", "ref", "detail", "reason", "sentence", "title", "resource", "operation",
    "agent", "network", "point_name", "key_id", "public_id", "actor", "act", "owner", "text", "value", "service", "action", "usual", "seen", "error", "source", "why", "cure", "claimed", "target", "email",
  ]);
  let n = 0;
  const poison = (v, key) => {
    if (Array.isArray(v)) return v.map((x) => poison(x, key));
    if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, poison(x, k)]));
    return typeof v === "string" && outside.has(key) ? hostile[n++ % hostile.length] : v;
  };

  for (const viewport of [wide, narrow]) {
    it(`is shown, not obeyed, on every page, ${viewport.width} px`, async () => {
      const v = await open({ viewport });
      await v.go("/identities?filter=static%3Atrue&order=-last_used", row);
      const id = await v.page.locator(row).first().getAttribute("data-id");
      await replace(v, /\/v1\/(?!me$|signin)/, poison);
      for (const [path, ready] of [
        ["/", "[data-tile]"],
        ["/activity", row],
        ["/findings", "[data-finding]"],
        ["/identities", row],
        [`/identities/${id}`, 'section[aria-label="Lineage"] ol'],
        [`/identities/${id}?tab=credentials`, 'ul[aria-label="Credentials"] li'],
        [`/identities/${id}?tab=changes`, 'nav[aria-label="Parts"]'],
        ["/points", 'ul[aria-label="Enforcement points"] li'],
        ["/policies", "[data-policy]"],
        ["/policies?view=history", "[data-snapshot]"],
        ["/sources", 'ul[aria-label="Sources"] li'],
        ["/settings?part=health", 'ul[aria-label="Checks"] li'],
        ["/settings?part=people", 'h2:has-text("People")'],
        ["/settings?part=tokens", 'ul[aria-label="API tokens"] li'],
        ["/settings?part=audit", 'ol[aria-label^="Audit log"] li'],
        ["/refusals", row],
      ]) {
        await v.go(path, ready);
        const found = await v.page.evaluate(() => ({
          pwned: window.pwned,
          // The page's own marks: everything else would come from a name.
          foreign: document.querySelectorAll("#root img, #root script, #root iframe, #root object, #root [onerror]").length,
          obeyed: /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069]/.test(document.querySelector("#root").textContent),
          links: [...document.querySelectorAll("a[href]")].map((a) => a.protocol).filter((p) => p !== "http:"),
        }));
        assert.deepEqual(found, { pwned: undefined, foreign: 0, obeyed: false, links: [] }, path);
        await v.fits(`${path} in a hostile world`);
        v.calm(`${path} in a hostile world`);
      }
      await v.close();
    });
  }
});

describe("somebody who may only look", () => {
  it("is told why a button does nothing, and is offered no view to save", async () => {
    const v = await open();
    await replace(v, /\/v1\/me$/, (me) => ({ ...me, roles: [{ role: "viewer" }], rights: ["read"] }));
    await v.go("/points", "h2");
    const enrol = v.page.getByRole("button", { name: /Enrol a point\s*, not allowed: This takes the role admin/ });
    await enrol.waitFor();
    assert.equal(await enrol.getAttribute("aria-disabled"), "true");
    await enrol.focus();
    await v.page.keyboard.press("Enter");
    assert.equal(await v.page.locator("dialog[open]").count(), 0);
    await v.accessible("points of a viewer");
    await v.go("/identities?filter=risk%3E%3D1%20kind%3Aagent", "h1");
    await v.page.getByRole("link", { name: "AI agents" }).waitFor();
    assert.equal(await v.page.getByRole("button", { name: "Save view" }).count(), 0);
    v.calm("a viewer");
    await v.close();
  });
});

describe("a session that has ended", () => {
  it("leads back to where it ended, through single sign-on or a link", async () => {
    const v = await open();
    const here = "/identities?filter=kind%3Aagent";
    await v.page.route(/\/v1\/me$/, (route) => route.fulfill({ status: 401, json: { status: 401, title: "Unauthorized" } }));
    await v.page.route(/\/v1\/signin$/, (route) =>
      route.fulfill({ json: { sso: { name: "Harbor & Pine", url: "/signin/sso" }, first_administrator: false } }),
    );
    await v.go(here, 'h1:has-text("Sign in")');
    const link = v.page.getByRole("link", { name: "Sign in with Harbor & Pine" });
    const begins = new URL(await link.getAttribute("href"), company.url);
    assert.equal(begins.pathname, "/signin/sso");
    assert.equal(begins.searchParams.get("next"), here);
    await v.accessible("single sign-on");
    await v.page.unroute(/\/v1\/me$/);
    await v.page.reload();
    await v.page.getByRole("combobox", { name: "Filter identities" }).waitFor();
    assert.equal(new URL(v.page.url()).search, "?filter=kind%3Aagent");
    await v.close();
  });

  it("ends when asked to", async () => {
    // A session of its own, so that the others stay.
    const v = await open();
    await v.go("/settings", "h2");
    const link = await v.page.evaluate(async () => {
      const reply = await fetch("/v1/links", { method: "POST", headers: { "Muster-Csrf": "1" } });
      return (await reply.json()).url;
    });
    const mine = await visit(browser, { url: company.url, theme: "light", viewport: narrow });
    await mine.go(link, "[data-tile]");
    await mine.page.getByRole("button", { name: "You", exact: true }).click();
    await mine.page.getByRole("dialog", { name: "You" }).waitFor();
    await mine.accessible("the menu of the user");
    await mine.page.getByRole("button", { name: "Sign out" }).click();
    await mine.page.locator('h1:has-text("Sign in")').waitFor();
    await mine.page.reload();
    await mine.page.locator('h1:has-text("Sign in")').waitFor();
    await mine.close();
    await v.close();
  });
});
