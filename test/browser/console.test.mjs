// The console as its users meet it: signed in by the printed link, live, by
// keyboard, in both themes, wide and narrow. Everything waits for a condition.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { demo, fresh } from "./muster.mjs";
import { launch, narrow, visit, wide } from "./visitor.mjs";

const routes = [
  { name: "overview", path: "/", ready: "[data-tile]" },
  { name: "activity", path: "/activity", ready: '[role="row"][data-id]' },
  { name: "refusals", path: "/refusals", ready: '[role="row"][data-id]' },
  { name: "findings", path: "/findings", ready: "[data-finding]" },
  { name: "actions", path: "/findings?view=actions", ready: 'ul[aria-label^="What was done"] li' },
  { name: "identities", path: "/identities", ready: '[role="grid"] a[href^="/identities/"]' },
  { name: "policies", path: "/policies", ready: "[data-policy]" },
  { name: "history", path: "/policies?view=history", ready: "[data-snapshot]" },
  { name: "found decisions", path: "/activity?filter=sensitivity%3E%3D0&since=1h", ready: '[role="row"][data-id]' },
  { name: "points", path: "/points", ready: 'ul[aria-label="Enforcement points"] li' },
  { name: "sources", path: "/sources", ready: 'ul[aria-label="Sources"] li' },
  { name: "settings", path: "/settings", ready: 'h2:has-text("Who you are")' },
  { name: "people", path: "/settings?part=people", ready: 'h2:has-text("People")' },
  { name: "tokens", path: "/settings?part=tokens", ready: 'ul[aria-label="API tokens"] li' },
  { name: "audit", path: "/settings?part=audit", ready: 'ol[aria-label^="Audit log"] li' },
  { name: "health", path: "/settings?part=health", ready: 'ul[aria-label="Checks"] li' },
  { name: "about", path: "/settings?part=about", ready: 'h2:has-text("About")' },
];
const looks = ["dark", "light"].flatMap((theme) => [wide, narrow].map((viewport) => ({ theme, viewport })));
const row = '[role="row"][data-id]';
const figures = {};

let browser;
before(async () => {
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await writeFile("out/figures.json", `${JSON.stringify(figures, null, 2)}\n`);
  console.log(figures);
});

describe("the console of a living company", () => {
  let company;
  let storageState;
  before(async () => {
    company = await demo();
    figures.link_ms = Date.now() - company.began;
  });
  after(() => company?.stop());

  it("signs in by the printed link, once, and shows the first alert", async () => {
    const v = await visit(browser, { url: company.url, theme: "dark" });
    await v.go(company.link, "[data-tile]");
    figures.first_paint_ms = Date.now() - company.began;
    await v.page.locator("[data-finding]", { hasText: "Critical" }).first().waitFor({ timeout: 60_000 });
    figures.first_alert_ms = Date.now() - company.began;
    Object.assign(figures, await v.page.evaluate(() => ({
      first_contentful_paint_ms: Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0),
      transferred_kB: Math.round(performance.getEntriesByType("resource").reduce((n, r) => n + r.transferSize, 0) / 1000),
    })));
    storageState = await v.context.storageState();
    assert.ok(storageState.cookies.every((c) => c.httpOnly), "the session is kept from scripts");
    v.calm("the first visit");
    await v.close();

    const second = await visit(browser, { url: company.url, theme: "dark" });
    await second.page.goto(company.link);
    await second.page.goto("/");
    await second.page.locator('h1:has-text("Sign in")').waitFor();
    await second.close();
  });

  it("tells a visitor without a session how to sign in", async () => {
    for (const look of looks) {
      const v = await visit(browser, { url: company.url, ...look });
      await v.go("/activity", 'h1:has-text("Sign in")');
      await v.accessible("sign-in");
      await v.fits("sign-in");
      await v.picture(`out/sign-in-${look.theme}-${look.viewport.width}.png`);
      // The browser itself notes the refused request; nothing else may be wrong.
      assert.deepEqual(v.complaints.filter((c) => !c.includes("401")), []);
      await v.close();
    }
  });

  const open = (look) => visit(browser, { url: company.url, storageState, ...look });

  for (const look of looks) {
    it(`is accessible on every route, ${look.theme}, ${look.viewport.width} px`, async () => {
      const v = await open(look);
      for (const { name, path, ready } of routes) {
        await v.go(path, ready);
        await v.accessible(name);
        await v.fits(name);
        await v.picture(`out/${name}-${look.theme}-${look.viewport.width}.png`);
        v.calm(name);
      }
      await v.go("/identities?filter=static%3Atrue&order=-last_used", row);
      const id = await v.page.locator(row).first().getAttribute("data-id");
      for (const [tab, shows] of [
        ["activity", 'svg[aria-label*="calls on"]'],
        ["normal", "text=calls were learned"],
        ["credentials", 'ul[aria-label="Credentials"] li'],
        ["decisions", 'nav[aria-label="Parts"]'],
        ["changes", 'nav[aria-label="Parts"]'],
      ]) {
        await v.go(`/identities/${id}?tab=${tab}`, 'section[aria-label="Lineage"] ol');
        await v.page.locator(shows).first().waitFor();
        await v.accessible(`identity, ${tab}`);
        await v.fits(`identity, ${tab}`);
        await v.picture(`out/identity-${tab}-${look.theme}-${look.viewport.width}.png`);
      }
      await v.page.getByRole("button", { name: /explain it/ }).click();
      await v.page.locator('dialog[open] h2:has-text("Why risk")').waitFor();
      await v.accessible("the risk");
      await v.fits("the risk");
      v.calm("identity");
      await v.close();
    });
  }

  for (const look of looks) {
    it(`explains a refusal and opens dialogs accessibly, ${look.theme}, ${look.viewport.width} px`, async () => {
      const v = await open(look);
      await v.go("/activity?outcome=step-up", row);
      await v.page.locator(row).first().click();
      await v.page.locator('aside h3:has-text("What would unlock it")').waitFor();
      await v.accessible("the explanation");
      await v.fits("the explanation");
      await v.picture(`out/why-${look.theme}-${look.viewport.width}.png`);

      for (const [path, button, title] of [
        ["/points", "Enrol a point", "Enrol a point"],
        ["/points", "Change", "Point "],
        ["/sources", "Add a source", "Add a source"],
        ["/settings?part=tokens", "Make a token", "Make a token"],
        ["/settings?part=tokens", "Revoke…", "Revoke this token?"],
        ["/identities?filter=risk%3E%3D1", "Save view", "Save this view"],
      ]) {
        await v.go(path, `button:has-text("${button}")`);
        await v.page.locator("button", { hasText: button }).first().click();
        await v.page.locator("dialog[open] h2", { hasText: title }).waitFor();
        await v.accessible(title);
        await v.fits(title);
        await v.page.keyboard.press("Escape");
        await v.page.locator("dialog[open]").waitFor({ state: "detached" });
      }
      await v.page.keyboard.press("?");
      await v.page.locator('dialog[open] h2:has-text("Help")').waitFor();
      await v.accessible("help");
      v.calm("dialogs");
      await v.close();
    });
  }

  it("shows tables in place of map and chart", async () => {
    for (const theme of ["dark", "light"]) {
      const v = await open({ theme });
      await v.go("/", 'svg[aria-label^="World map"] path');
      await v.page.locator('section:has(> div > h2:has-text("Where calls")) button').click();
      await v.page.locator('section:has(> div > h2:has-text("Decisions, last hour")) button').click();
      await v.page.locator('section[aria-label="Calls by country"] tbody tr').first().waitFor();
      await v.page.locator('section[aria-label="Decisions by minute"] tbody tr').first().waitFor();
      await v.accessible("the tables");
      v.calm("the tables");
      await v.close();
    }
  });

  it("receives decisions live and holds them back while somebody reads", async () => {
    const v = await open({ theme: "dark" });
    await v.go("/activity", row);
    const first = () => v.page.locator(row).first().getAttribute("data-id");
    const before = await first();
    await v.page.waitForFunction((id) => document.querySelector('[role="row"][data-id]')?.dataset.id !== id, before);

    await v.page.locator(`${row}[tabindex="0"]`).focus();
    const held = await first();
    const waiting = v.page.getByRole("button", { name: /^[\d,]+ new$/ });
    await waiting.waitFor();
    assert.equal(await first(), held, "the rows stood still under the focus");
    // The pointer goes there without leaving the list, so the rows stand still until they are asked for.
    const box = await waiting.boundingBox();
    await v.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await v.page.locator(`${row}[data-id="${held}"]`).waitFor();
    assert.equal(await first(), held, "the rows stood still under the pointer");
    await waiting.click();
    await v.page.waitForFunction((id) => document.querySelector('[role="row"][data-id]')?.dataset.id !== id, held);

    await v.page.locator("h1").evaluate(() => document.activeElement?.blur());
    await v.page.mouse.move(5, 5);
    await v.page.keyboard.press("Space");
    await v.page.getByRole("button", { name: "Go on" }).waitFor();
    const paused = await first();
    await waiting.waitFor();
    assert.equal(await first(), paused, "the rows stood still while paused");
    await v.page.keyboard.press("Space");
    await v.page.getByRole("button", { name: "Pause" }).waitFor();
    v.calm("live rows");
    await v.close();
  });

  it("explains a decision by keyboard alone", async () => {
    const v = await open({ theme: "light" });
    await v.go("/activity?outcome=deny", row);
    await v.page.locator(row).nth(1).waitFor();
    await v.page.keyboard.press("Space");
    await v.page.getByRole("button", { name: "Go on" }).waitFor();
    await v.page.locator(`${row}[tabindex="0"]`).focus();
    const focused = () => document.activeElement?.dataset.id;
    const start = await v.page.evaluate(focused);
    await v.page.keyboard.press("ArrowDown");
    await v.page.waitForFunction((id) => (document.activeElement?.dataset.id ?? id) !== id, start);
    const chosen = await v.page.evaluate(focused);
    await v.page.keyboard.press("Enter");
    await v.page.locator("aside h2", { hasText: "Why was this decided?" }).waitFor();
    await v.page.waitForURL((url) => url.searchParams.get("decision") === chosen);
    await v.page.keyboard.press("Escape");
    await v.page.locator("aside").waitFor({ state: "detached" });
    await v.page.waitForFunction((id) => document.activeElement?.dataset.id === id, chosen);

    // The address alone brings it back.
    await v.go(`/activity?decision=${chosen}`, "aside h3");
    v.calm("the explanation by keyboard");
    await v.close();
  });

  it("goes anywhere by keyboard", async () => {
    const v = await open({ theme: "dark" });
    await v.go("/", "[data-tile]");
    for (const [key, path] of [["a", "/activity"], ["r", "/refusals"], ["f", "/findings"], ["v", "/approvals"], ["i", "/identities"], ["p", "/points"], ["s", "/sources"], ["e", "/settings"], ["o", "/"]]) {
      await v.page.keyboard.press("g");
      await v.page.keyboard.press(key);
      await v.page.waitForURL((url) => url.pathname === path);
    }
    await v.page.keyboard.press("Tab");
    await v.go("/identities", '[role="grid"] a[href^="/identities/"]');
    const name = (await v.page.locator('[role="grid"] a[href^="/identities/"]').first().innerText()).trim();
    await v.page.keyboard.press("Control+k");
    await v.page.getByRole("combobox", { name: "Search anything" }).fill(name);
    await v.page.getByRole("option", { name }).first().waitFor();
    await v.accessible("search");
    await v.page.keyboard.press("Enter");
    await v.page.waitForURL((url) => url.pathname.startsWith("/identities/nhi_"));
    await v.page.locator("h1").getByText(name, { exact: true }).waitFor();
    v.calm("the keyboard journey");
    await v.close();
  });

  it("undoes what was done about a leak, and says so", async () => {
    const v = await open({ theme: "dark" });
    await v.go("/findings?view=actions", 'ul[aria-label^="What was done"] a:has-text("Finding")');
    await v.page.locator('li:has(button:has-text("Undo")) a:has-text("Finding")').last().click();
    const card = v.page.locator('section[aria-label="What was done"]');
    await card.getByRole("button", { name: "Undo" }).click();
    const dialog = v.page.locator("dialog[open]");
    await dialog.getByText("can use it from anywhere").or(dialog.getByText("accepts the key again")).waitFor();
    await v.accessible("the question before undo");
    await dialog.getByLabel("Why").fill("the key was rotated");
    await dialog.getByRole("button", { name: "Undo" }).click();
    await v.page.getByText(/^Undone: /).first().waitFor();
    await card.getByRole("heading", { name: /^Undone: / }).waitFor();
    await v.accessible("the message");

    // The finding is resolved with it; a judgement can be taken back from its message.
    await v.page.getByRole("button", { name: "Open again" }).click();
    await v.page.getByRole("button", { name: "Acknowledge" }).click();
    const message = v.page.locator('li[data-state="open"]', { hasText: "Acknowledged." });
    await message.getByRole("button", { name: "Undo" }).click();
    await v.page.getByRole("button", { name: "Acknowledge" }).waitFor();
    v.calm("undo");
    await v.close();
  });

  it("keeps the chosen theme over a reload", async () => {
    const v = await open({ theme: "dark" });
    await v.go("/", "[data-tile]");
    const ground = () => getComputedStyle(document.documentElement).backgroundColor;
    const dark = await v.page.evaluate(ground);
    await v.page.getByRole("button", { name: /^Theme/ }).click();
    const changed = (before) => getComputedStyle(document.documentElement).backgroundColor !== before;
    await v.page.waitForFunction(changed, dark);
    const light = await v.page.evaluate(ground);
    await v.page.reload();
    await v.page.locator("[data-tile]").first().waitFor();
    assert.equal(await v.page.evaluate(ground), light);
    v.calm("the theme");
    await v.close();
  });

  it("draws the pictures of the documentation", { skip: !process.env.UPDATE_IMAGES }, async () => {
    const images = "../../docs/images";
    await mkdir(images, { recursive: true });
    for (const theme of ["dark", "light"]) {
      const v = await open({ theme });
      await v.go("/", 'svg[aria-label^="World map"] path');
      await v.page.waitForFunction(() => {
        const shown = /^([\d,]+) calls/.exec(document.querySelector('svg[aria-label^="World map"]')?.ariaLabel?.slice(11) ?? "");
        return shown && Number(shown[1].replaceAll(",", "")) > 900;
      });
      await v.picture(`${images}/overview-${theme}.png`);
      await v.go("/activity", row);
      await v.page.locator(`${row}[data-outcome="step-up"]`).first().waitFor({ timeout: 60_000 });
      await v.page.keyboard.press("Space");
      await v.page.locator(`${row}[data-outcome="step-up"]`).first().click();
      await v.page.locator("aside h3").first().waitFor();
      await v.page.mouse.move(5, 5);
      await v.picture(`${images}/activity-${theme}.png`);
      await v.go("/findings", "[data-finding]");
      await v.page.locator('[data-finding]:has-text("In force")').first().click();
      await v.page.locator('section[aria-label="What was done"]').waitFor();
      await v.picture(`${images}/findings-${theme}.png`);
      for (const [name, path, ready] of [
        ["refusals", "/refusals?filter=kind%3Adenied", row],
        ["identities", "/identities?filter=static%3Atrue&order=-last_used", row],
        ["policies", "/policies", "[data-policy]"],
        ["points", "/points", 'ul[aria-label="Enforcement points"] li'],
        ["sources", "/sources", 'ul[aria-label="Sources"] li'],
        ["settings", "/settings?part=health", 'ul[aria-label="Checks"] li'],
        ["tokens", "/settings?part=tokens", 'ul[aria-label="API tokens"] li'],
        ["audit", "/settings?part=audit", 'ol[aria-label^="Audit log"] li'],
      ]) {
        await v.go(path, ready);
        await v.picture(`${images}/${name}-${theme}.png`);
      }
      await v.go("/identities?filter=static%3Atrue&order=-last_used", row);
      await v.page.locator(`${row} a`).first().click();
      await v.page.locator('svg[aria-label*="calls on"]').waitFor();
      await v.page.locator('section[aria-label="Lineage"] ol').waitFor();
      await v.picture(`${images}/identity-${theme}.png`);
      await v.close();
    }
  });
});

describe("the console of a server that knows nothing yet", () => {
  let server;
  let storageState;
  before(async () => {
    server = await fresh();
    const v = await visit(browser, { url: server.url, theme: "dark" });
    await v.go(server.link, "[data-tile]");
    storageState = await v.context.storageState();
    await v.close();
  });
  after(() => server?.stop());

  it("teaches, accessibly, in both themes", async () => {
    for (const look of looks) {
      const v = await visit(browser, { url: server.url, storageState, ...look });
      for (const [name, path, teaches] of [
        ["overview", "/", "text=Who exists?"],
        ["activity", "/activity", "text=No decisions since the server started"],
        ["refusals", "/refusals", "text=Nobody was turned away yet"],
        ["findings", "/findings", "h1"],
        ["dismissed findings", "/findings?status=dismissed", "text=No dismissed findings"],
        ["actions", "/findings?view=actions", "text=Nothing was contained yet"],
        ["approvals", "/approvals", "text=Nobody waits for an answer here"],
        ["identities", "/identities", "h1"],
        ["points", "/points", "text=Nothing asks Muster yet"],
        ["sources", "/sources", "text=Nobody reports logs or leaks yet"],
        ["settings", "/settings", 'h2:has-text("How people sign in")'],
        ["an unknown identity", "/identities/nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa", "text=could not be read"],
      ]) {
        await v.go(path, teaches);
        await v.accessible(`empty ${name}`);
        await v.fits(`empty ${name}`);
        await v.picture(`out/empty-${name.replaceAll(" ", "-")}-${look.theme}-${look.viewport.width}.png`);
        assert.deepEqual(v.complaints.splice(0).filter((c) => !c.includes("404")), []);
      }
      await v.close();
    }
  });

  it("says when the server is gone", async () => {
    const v = await visit(browser, { url: server.url, storageState, theme: "dark" });
    await v.go("/points", "text=Nothing asks Muster yet");
    await v.page.getByText("Live", { exact: true }).waitFor();
    await server.stop();
    await v.page.getByText("Reconnecting", { exact: true }).waitFor();
    await v.page.getByRole("alert").getByText("Muster cannot be reached since").waitFor({ timeout: 60_000 });
    await v.accessible("the page without a server");
    await v.close();
  });
});
