// Whom the console reaches: people who zoom, who let the system choose the
// colours, who want nothing to move, who have ten questions and little time,
// and who look for one of two hundred thousand.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { demo } from "./muster.mjs";
import { launch, narrow, visit } from "./visitor.mjs";

const row = '[role="row"][data-id]';
let browser;
let company;
let storageState;
let id;

before(async () => {
  browser = await launch();
  company = await demo();
  const v = await visit(browser, { url: company.url, theme: "dark" });
  await v.go(company.link, "[data-tile]");
  storageState = await v.context.storageState();
  // One that holds a secret, that somebody answers for, that was learned about
  // and that asks now: every part of its page has something to show.
  const telling = async () => {
    const get = async (path) => (await fetch(path)).json();
    const made = (await get("/v1/decisions?limit=200")).items ?? [];
    for (const id of new Set(made.map((d) => d.identity).filter(Boolean))) {
      const [one, normal] = await Promise.all([get(`/v1/identities/${id}`), get(`/v1/identities/${id}/normal`)]);
      if (normal.events > 0 && one.owner?.ref && one.credentials?.length > 0) return id;
    }
    return "";
  };
  for (let tries = 60; !id && tries > 0; tries--) {
    id = await v.page.evaluate(telling);
    if (!id) await v.page.waitForTimeout(1000);
  }
  assert.ok(id, "the company has an identity that was learned about and asks");
  await v.close();
});
after(async () => {
  await browser?.close();
  await company?.stop();
});

const open = (look = {}) => visit(browser, { url: company.url, storageState, theme: "dark", ...look });

/** call asks the interface with the session of a page. */
const call = (v, method, path, body) =>
  v.page.evaluate(
    async ([method, path, body]) => {
      const headers = { "Content-Type": "application/json", "Muster-Csrf": "1" };
      const reply = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
      return { status: reply.status, ...(await reply.json()) };
    },
    [method, path, body],
  );

/** pages are all addresses, with what each shows when it is there. */
const pages = () => [
  ["/", "[data-tile]"],
  ["/activity", row],
  ["/refusals", row],
  ["/findings", "[data-finding]"],
  ["/findings?view=actions", 'ul[aria-label^="What was done"] li'],
  ["/identities", row],
  [`/identities/${id}`, 'section[aria-label="More about it"] svg[role="img"]'],
  [`/identities/${id}?days=90`, 'section[aria-label="More about it"] svg[role="img"]'],
  [`/identities/${id}?tab=normal`, 'svg[aria-label^="Active in"]'],
  [`/identities/${id}?tab=credentials`, 'ul[aria-label="Credentials"] li'],
  [`/identities/${id}?tab=decisions`, 'ul[aria-label^="Decisions"] li'],
  [`/identities/${id}?tab=changes`, 'nav[aria-label="Parts"]'],
  ["/points", 'ul[aria-label="Enforcement points"] li'],
  ["/sources", 'ul[aria-label="Sources"] li'],
  ["/settings", 'h2:has-text("Who you are")'],
  ["/settings?part=people", 'h2:has-text("People")'],
  ["/settings?part=tokens", 'ul[aria-label="API tokens"] li'],
  ["/settings?part=audit", 'ol[aria-label^="Audit log"] li'],
  ["/settings?part=health", 'ul[aria-label="Checks"] li'],
  ["/settings?part=about", 'h2:has-text("About")'],
  ["/nowhere", 'h2:has-text("There is no such page")'],
];

describe("at 400 %, which is 320 by 256 pixels", () => {
  it("every page is read without scrolling sideways, and everything to press is in reach", async () => {
    const v = await open({ theme: "light", viewport: { width: 320, height: 256 } });
    for (const [path, ready] of pages()) {
      await v.go(path, ready);
      await v.fits(path);
      assert.deepEqual(v.complaints.splice(0).filter((c) => !c.includes("404")), [], path);
    }
    // What a wide window shows beside the list is behind a button here.
    await v.go("/identities", row);
    await v.page.getByRole("combobox", { name: "View" }).selectOption("Unowned");
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "-owner:*");
    await v.page.getByRole("button", { name: "Narrow down" }).click();
    await v.page.getByRole("checkbox", { name: /IAM user/ }).check();
    await v.page.getByRole("button", { name: /^Show / }).click();
    await v.page.locator(row).first().waitFor();
    await v.page.getByRole("button", { name: "More pages" }).click();
    await v.page.getByRole("dialog", { name: "More pages" }).getByRole("link", { name: "Refusals" }).click();
    await v.page.getByRole("combobox", { name: "Which refusals" }).selectOption("Deny");
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "kind:denied");
    await v.close();
  });
});

describe("with forced colours", () => {
  for (const theme of ["dark", "light"]) {
    it(`pictures have shades that differ, what is chosen is marked, and every focus is seen, ${theme}`, async () => {
      const v = await open({ theme, forcedColors: "active" });
      await v.go("/", 'svg[aria-label^="World map"] path');
      const shades = (selectors) =>
        v.page.evaluate((selectors) => {
          const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const light = (colour) => {
            paint.fillStyle = colour;
            paint.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map((x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = light(getComputedStyle(document.documentElement).backgroundColor);
          return selectors.map((s) => {
            const e = document.querySelector(s);
            if (!e) return { s, contrast: 0 };
            const at = light(getComputedStyle(e).fill);
            return { s, at, contrast: (Math.max(at, ground) + 0.05) / (Math.min(at, ground) + 0.05) };
          });
        }, selectors);
      const differ = (found, least, what) => {
        for (const { s, contrast } of found) assert.ok(contrast >= least, `${what}: ${s} stands out by ${contrast}`);
        const steps = found.map((f) => f.at).sort((a, b) => a - b);
        for (let i = 1; i < steps.length; i++) assert.ok((steps[i] + 0.05) / (steps[i - 1] + 0.05) > 1.2, `${what}: shades ${steps}`);
      };
      differ(await shades(["svg rect.fill-allow", "svg rect.fill-stepup", "svg rect.fill-deny"]), 2, "the chart");
      await v.picture(`out/forced-overview-${theme}.png`);

      await v.go(`/identities/${id}?days=90`, 'section[aria-label="More about it"] svg[role="img"]');
      differ(await shades(["svg rect.fill-heat1", "svg rect.fill-heat4"]), 1.5, "the map of hours");
      await v.picture(`out/forced-identity-${theme}.png`);
      const marked = (selector, rest) =>
        v.page.evaluate(
          ([selector, rest]) => {
            const look = (e) => e && [getComputedStyle(e).textDecorationLine, getComputedStyle(e).outlineStyle, getComputedStyle(e).borderBottomColor].join();
            return [look(document.querySelector(selector)), look(document.querySelector(rest))];
          },
          [selector, rest],
        );
      for (const [what, chosen, other] of [
        ["tab", 'nav[aria-label="Parts"] a[aria-current="page"]', 'nav[aria-label="Parts"] a:not([aria-current])'],
        ["page", 'nav[aria-label="Pages"] li a[data-status="active"]', 'nav[aria-label="Pages"] li a:not([data-status])'],
        ["choice", '[data-state="on"]', '[data-state="off"]'],
      ]) {
        const [on, off] = await marked(chosen, other);
        assert.ok(on && off && on !== off, `the chosen ${what} is told apart: ${on} and ${off}`);
      }
      await v.go("/findings", "[data-finding]");
      await v.page.locator('[data-finding][aria-current="true"]').waitFor();
      const [on, off] = await marked('[data-finding][aria-current="true"]', "[data-finding]:not([aria-current])");
      assert.notEqual(on, off, "the chosen row is told apart");

      await v.go("/points", 'ul[aria-label="Enforcement points"] li');
      for (let presses = 0; presses < 24; presses++) {
        await v.page.keyboard.press("Tab");
        const seen = await v.page.evaluate(() => {
          const e = document.activeElement;
          if (!e || e === document.body) return undefined;
          const style = getComputedStyle(e);
          return { what: e.textContent.slice(0, 30), line: style.outlineStyle, width: Number.parseFloat(style.outlineWidth), colour: style.outlineColor, ground: getComputedStyle(document.documentElement).backgroundColor };
        });
        if (!seen) continue;
        assert.ok(seen.line !== "none" && seen.width >= 2 && seen.colour !== seen.ground, `the focus is seen: ${JSON.stringify(seen)}`);
      }
      await v.picture(`out/forced-points-${theme}.png`);
      v.calm("forced colours");
      await v.close();
    });
  }
});

describe("with reduced motion", () => {
  const moving = (v) =>
    v.page.evaluate(() => {
      const e = document.querySelector("aside.slide-in");
      return { panel: Number.parseFloat(getComputedStyle(e).animationDuration), pulses: [...document.querySelectorAll(".pulse")].filter((p) => p.checkVisibility()).length };
    });
  for (const [reducedMotion, still] of [["reduce", true], ["no-preference", false]]) {
    it(still ? "nothing slides or pulses" : "and without it, the panel slides in", async () => {
      const v = await open({ reducedMotion });
      await v.go("/activity?outcome=deny", row);
      await v.page.locator(row).first().click();
      await v.page.locator("aside h3").first().waitFor();
      const { panel, pulses } = await moving(v);
      assert.equal(panel <= 0.002, still, `the panel takes ${panel} s`);
      if (still) {
        assert.equal(pulses, 0);
        await v.go("/", 'svg[aria-label^="World map"] path');
        assert.equal(await v.page.evaluate(() => [...document.querySelectorAll(".pulse")].filter((p) => p.checkVisibility()).length), 0);
        const long = await v.page.evaluate(() => document.getAnimations().filter((a) => a.effect.getComputedTiming().activeDuration > 2).length);
        assert.equal(long, 0, "no animation lasts");
      }
      v.calm("motion");
      await v.close();
    });
  }
});

describe("those who were not let in", () => {
  it("are listed with the reason and what helps, whoever tried", async () => {
    const reply = await fetch(`${company.url}/v1/me`, { headers: { authorization: "Bearer nonsense-that-opens-nothing" } });
    assert.equal(reply.status, 401);
    const v = await open();
    await v.go("/refusals", row);
    await v.page.getByRole("radio", { name: "Not authenticated" }).click();
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "kind:failed_authentication");
    const mine = v.page.locator(`${row}[data-kind="failed_authentication"]`, { hasText: "GET /v1/me" }).first();
    await mine.waitFor();
    await v.page.locator(`${row}[tabindex="0"]`).focus();
    await v.page.keyboard.press("Enter");
    await v.page.locator('aside h3:has-text("What helps")').waitFor();
    await v.accessible("a refusal");
    await v.page.getByText("somebody is trying keys").waitFor();
    const chosen = new URL(v.page.url()).searchParams.get("id");
    await v.page.keyboard.press("Escape");
    await v.page.locator("aside").waitFor({ state: "detached" });
    await v.page.waitForFunction((id) => document.activeElement?.dataset.id === id, chosen);

    // Narrowed to an hour by a button, and by the language.
    await v.page.getByRole("radio", { name: "1 hour" }).click();
    await v.page.waitForURL((url) => url.searchParams.get("filter") === "kind:failed_authentication at>1h");
    await v.page.locator(row).first().waitFor();
    const field = v.page.getByRole("combobox", { name: "Filter refusals" });
    await field.fill("kind:denied adress:x");
    await field.press("Enter");
    await v.page.getByRole("alert").getByText("column 13").waitFor();
    await v.accessible("a wrong filter of refusals");
    v.complaints.splice(0); // the browser notes the 422
    await v.page.getByRole("button", { name: "Show all" }).click();
    await v.page.locator(row).first().waitFor();
    await field.fill("address:192.0.2.1");
    await field.press("Enter");
    await v.page.getByText("No refusal matches").waitFor();
    await v.accessible("no refusal");
    v.calm("refusals");
    await v.close();
  });

  it("have an address each, which shows them whatever came since", async () => {
    const v = await open();
    await v.go("/refusals?filter=kind%3Adenied", row);
    await v.page.locator(row).nth(3).click();
    await v.page.locator('aside h3:has-text("What helps")').waitFor();
    const chosen = new URL(v.page.url()).searchParams.get("id");
    await v.page.getByRole("button", { name: "Copy link" }).click();
    await v.page.locator("aside").getByText("Copied").waitFor();
    const link = await v.page.evaluate(() => navigator.clipboard.readText());
    await v.close();

    const second = await open({ viewport: narrow });
    await second.go(link, 'aside h3:has-text("What helps")');
    assert.equal(await second.page.locator(row).first().getAttribute("data-id"), chosen);
    await second.fits("a refusal");
    await second.page.getByRole("link", { name: "Why it was decided so" }).click();
    await second.page.locator('aside h2:has-text("Why was this decided?")').waitFor();
    second.calm("a refusal by its address");
    await second.close();
  });

  it("are waited for, and when they cannot be read it says why and tries again", async () => {
    const v = await open();
    let let_in;
    const waits = new Promise((go) => (let_in = go));
    await v.page.route(/\/v1\/refusals/, async (route) => {
      await waits;
      await route.fulfill({ status: 503, contentType: "application/problem+json", json: { status: 503, title: "Service Unavailable", detail: "the database is away; nothing was changed" } });
    });
    await v.go("/refusals", '[role="status"][aria-label="Loading"]');
    await v.accessible("refusals that are waited for");
    let_in();
    await v.page.getByRole("alert").getByText("the database is away").waitFor();
    await v.accessible("refusals that could not be read");
    await v.page.unroute(/\/v1\/refusals/);
    await v.page.getByRole("button", { name: "Try again" }).click();
    await v.page.locator(row).first().waitFor();
    await v.close();
  });
});

describe("two hundred thousand identities", () => {
  const all = 200_000;
  const size = 20_000;

  it("scroll without lag: few elements, little script for each screen", async () => {
    const v = await open();
    await v.go("/", "[data-tile]");
    const [{ kind, state, environment, owner, provider, account, native, path }] = (await call(v, "GET", "/v1/identities?limit=1")).items;
    const one = { kind, state, environment, owner, provider, account, native, path, risk: 0, shadow: false };
    const facets = await call(v, "GET", "/v1/identities/facets");
    await v.page.route(/\/v1\/identities\/facets/, (route) => route.fulfill({ json: { ...facets, total: all } }));
    await v.page.route(/\/v1\/identities\?/, (route) => {
      const at = Number(new URL(route.request().url()).searchParams.get("page_token") ?? 0);
      const items = Array.from({ length: size }, (_, i) => ({ ...one, id: `nhi_${at + i}`, name: `row ${at + i}` }));
      return route.fulfill({ json: { items, total: all, next: at + size < all ? String(at + size) : "" } });
    });
    await v.go("/identities", row);
    await v.page.waitForFunction((n) => document.querySelector('[role="grid"]')?.ariaRowCount === n, String(all + 1));
    // Down to the last of them, so that all are here.
    const grid = v.page.locator('[role="grid"] [role="rowgroup"]').nth(1);
    for (let n = 1; n * size < all; n++) {
      await grid.evaluate((e) => {
        e.scrollTop = e.scrollHeight;
      });
      await v.page.waitForFunction((n) => document.querySelector('[role="grid"] [role="presentation"]').offsetHeight >= n * 36, (n + 1) * size);
    }
    const debug = await v.context.newCDPSession(v.page);
    await debug.send("Performance.enable");
    const figures = async () => Object.fromEntries((await debug.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
    const screens = 60;
    const before = await figures();
    for (let n = 1; n <= screens; n++) {
      // Far apart, so that no row of one screen is on the next.
      const top = Math.round((n / screens) * (all - 200)) * 36;
      await grid.evaluate((e, top) => {
        e.scrollTop = top;
      }, top);
      await v.page.waitForFunction((top) => [...document.querySelectorAll('[role="row"][data-id]')].some((r) => Math.abs(Number(r.ariaRowIndex) - 2 - top / 36) < 2), top);
    }
    const after = await figures();
    const script = ((after.ScriptDuration - before.ScriptDuration) * 1000) / screens;
    const rows = await v.page.locator(row).count();
    const elements = await v.page.evaluate(() => document.querySelectorAll("*").length);
    console.log({ rows, elements, script_ms_a_screen: Math.round(script * 10) / 10 });
    assert.ok(rows < 80, `${rows} rows exist`);
    assert.ok(elements < 2_500, `${elements} elements exist`);
    // A screen that is all new takes some ms, on a busy machine some tens; a list that builds
    // what is not seen takes many seconds.
    assert.ok(script < 1_000, `${script} ms of script for a screen`);
    v.calm("many rows");
    await v.close();
  });

  it("one is found by its key, its ARN, its fingerprint and its name", async () => {
    const v = await open();
    await v.go("/", "[data-tile]");
    const made = await call(v, "POST", `/v1/identities/${id}/credentials`, {});
    assert.equal(made.status, 201);
    const one = await call(v, "GET", `/v1/identities/${id}`);
    assert.match(one.path, /^arn:/);
    for (const [what, text, tab] of [
      ["key", made.key, "credentials"],
      ["ARN", one.path, null],
      ["fingerprint", await anyFingerprint(company.data), "credentials"],
      ["name", one.name, null],
    ]) {
      await v.page.keyboard.press("Control+k");
      const field = v.page.getByRole("combobox", { name: "Search anything" });
      await field.fill(text);
      await v.page.getByRole("option", { name: /Identity|Credential/ }).first().waitFor();
      await field.press("Enter");
      await v.page.waitForURL((url) => url.pathname.startsWith("/identities/nhi_") && url.searchParams.get("tab") === tab);
      if (what !== "fingerprint") assert.equal(new URL(v.page.url()).pathname, `/identities/${id}`, what);
      await v.page.locator('section[aria-label="Lineage"] ol').waitFor();
    }
    v.calm("finding one");
    await v.close();
  });
});

/** anyFingerprint reads a blind fingerprint out of the store's files: it is in no list, because nobody needs to see one. */
async function anyFingerprint(folder) {
  for (const name of await readdir(folder)) {
    if (!name.includes(".db")) continue;
    const found = /f1:[a-z2-7]{32}/.exec((await readFile(join(folder, name))).toString("latin1"));
    if (found) return found[0];
  }
  assert.fail(`no fingerprint in ${folder}`);
}

// The questions that are asked first (docs/guide/console.md), and after how many
// presses from the overview the answer is on the screen. A row says what to
// press, and what is then read.
describe("the ten questions", () => {
  const search = (v, text) => async () => {
    await v.page.keyboard.press("Control+k");
    await v.page.getByRole("combobox", { name: "Search anything" }).fill(text);
    await v.page.getByRole("option", { name: /Identity|Credential/ }).first().waitFor();
    await v.page.keyboard.press("Enter");
  };
  const click = (v, target) => () => v.page.locator(target).first().click();
  const ask = async (v, question, most, steps, answer) => {
    await v.go("/", "[data-tile]");
    for (const step of steps) await (typeof step === "string" ? click(v, step)() : step());
    await v.page.locator(answer).first().waitFor();
    assert.ok(steps.length <= most, `${question}: ${steps.length} presses, at most ${most}`);
  };

  it("are answered in few presses", async () => {
    const v = await open();
    await v.go("/", "[data-tile]");
    const made = await call(v, "POST", `/v1/identities/${id}/credentials`, {});
    const one = await call(v, "GET", `/v1/identities/${id}`);
    const key = search(v, made.key);
    const name = search(v, one.path);
    await ask(v, "1. whose key is this", 1, [key], 'section[aria-label="Who it is"] h1');
    await ask(v, "2. what does it reach, and what of it does it use", 1, [name], 'section[aria-label="Lineage"] h2:has-text("Can reach") + ul li:has-text("used")');
    await ask(v, "3. what was denied in the last hour, and why", 2, ['a:has-text("All of the last hour")', row], 'aside h3:has-text("What is known")');
    assert.match(new URL(v.page.url()).searchParams.get("filter"), /at>1h/);
    const leak = '[data-finding]:has-text("Leaked key"):has-text("Key ") a';
    await v.go("/", leak);
    await ask(v, "4. is a leaked secret alive", 1, [leak], 'article dt:has-text("Credential") + dd:has-text("Narrowed"), article dt:has-text("Credential") + dd:has-text("Suspended")');
    await ask(v, "4. and what is done about it can be taken back", 2, [leak, 'section[aria-label="What was done"] button:has-text("Undo")'], 'dialog[open] h2:has-text("Undo this?")');
    await ask(v, "5. who has no owner", 2, ['[data-tile="Unowned"] a'], `ul[aria-label="Views"] [aria-current="page"]:has-text("Unowned")`);
    await ask(v, "5. who is not used", 2, ['[data-tile="Identities"] a', 'ul[aria-label="Views"] a:has-text("Unused for 90 days")'], 'ul[aria-label="Views"] [aria-current="page"]:has-text("Unused")');
    await ask(v, "6. what would a point refuse if it enforced", 2, ['nav a[href="/points"]', 'button:has-text("Change")'], 'dialog[open] h2:has-text("Point ")');
    await ask(v, "7. what is abnormal here", 2, [name, 'nav[aria-label="Parts"] a:has-text("Normal")'], "text=calls were learned");
    await ask(v, "8. who crosses from one environment to another", 2, ['nav a[href="/refusals"]', 'button:has-text("Crosses environments")'], `${row}[data-kind="denied"]:has-text("environment-crossing")`);
    await ask(v, "9. did a person use this account", 2, [name], 'dt:has-text("By a person") + dd:has-text("no sign of it"), dt:has-text("By a person") + dd a');
    await ask(v, "10. prove it to the auditor", 3, ['nav a[href="/settings"]', 'nav[aria-label="Settings"] a:has-text("Audit")', 'button:has-text("Sign where it stands")'], 'dialog[open] h2:has-text("The audit log is signed")');
    await v.accessible("the signature");
    v.calm("the questions");
    await v.close();
  });
});
