// A visitor is one browser window that minds what a person would not forgive.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

export const wide = { width: 1440, height: 900 };
export const narrow = { width: 320, height: 720 };

/** launch starts the browser that Debian packages. It may reach nothing but this machine. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** visit opens a window. Complaints of the page are collected and asserted by calm. */
export async function visit(browser, { url, theme, viewport = wide, storageState, forcedColors = "none", reducedMotion = "reduce" }) {
  const context = await browser.newContext({ baseURL: url, colorScheme: theme, viewport, storageState, forcedColors, reducedMotion });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`script: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(`another origin: ${request.url()}`);
  });
  const name = `${theme} ${viewport.width}`;

  return {
    page,
    context,
    name,
    complaints,

    /** go opens an address and waits until the page shows what it is for. */
    async go(path, ready) {
      await page.goto(path);
      await page.locator(ready).first().waitFor();
    },

    /** accessible asserts that axe finds nothing on what is shown now. */
    async accessible(what) {
      // The page's own policy forbids foreign scripts; this one comes in through the debugger.
      if (!(await page.evaluate("typeof axe !== 'undefined'"))) await page.evaluate(axe);
      const found = await page.evaluate(async (tags) => {
        const { violations } = await window.axe.run({ runOnly: tags });
        return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 200)} (${n.failureSummary})`));
      }, rules);
      assert.deepEqual(found, [], `axe on ${what}, ${name}`);
    },

    /** fits asserts that nothing has to be scrolled sideways, in the window or in any part of it, and that nothing to press is out of reach. */
    async fits(what) {
      const wrong = await page.evaluate(() => {
        const name = (e) => `${e.tagName.toLowerCase()} ${e.ariaLabel ?? e.className}: ${e.textContent.slice(0, 60)}`;
        const shown = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility({ opacityProperty: true }));
        const scrolls = shown.filter((e) => e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX) && !/^(INPUT|TEXTAREA|SELECT)$/.test(e.tagName));
        const outside = shown.filter((e) => {
          if (!e.matches("a[href], button, input, select, textarea, summary") || e.closest("[href='#main']")) return false;
          const box = e.getBoundingClientRect();
          return box.width > 1 && (box.left < -1 || box.right > window.innerWidth + 1);
        });
        const over = document.documentElement.scrollWidth - window.innerWidth;
        return [...(over > 0 ? [`the window is ${over} px too narrow`] : []), ...scrolls.map((e) => `scrolls sideways: ${name(e)}`), ...outside.map((e) => `out of reach: ${name(e)}`)];
      });
      assert.deepEqual(wrong, [], `${what} at ${viewport.width} px`);
    },

    /** calm asserts that the page complained about nothing. */
    calm(what) {
      assert.deepEqual(complaints.splice(0), [], `complaints on ${what}, ${name}`);
    },

    picture: (file) => page.screenshot({ path: file, animations: "disabled" }),
    /** close leaves. What a route is still answering then answers nobody, and its errors say nothing. */
    close: async () => {
      await page.unrouteAll({ behavior: "ignoreErrors" });
      await context.close();
    },
  };
}
