// Compresses what was built and holds it to its size budget. A build that is
// too big fails: weight is added one harmless import at a time.
import { appendFile, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = join(dirname(fileURLToPath(import.meta.url)), "../../internal/console/dist");
const kB = 1000;
const budget = { entry: 150 * kB, route: 320 * kB, fonts: 60 * kB, dist: 2000 * kB };
const text = new Set([".js", ".css", ".html", ".svg", ".json", ".txt"]);

async function* files(folder) {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

const manifestPath = join(dist, "manifest.json");
const manifest = JSON.parse(await readFile(manifestPath, "utf8"));
await rm(manifestPath);

// What no script imports is not in the list that the bundler wrote: the fonts,
// and the styles that Tailwind brings. The headings are read by internal/sbom.
const licenses = join(dist, "licenses.txt");
const modules = join(dirname(fileURLToPath(import.meta.url)), "../node_modules");
for (const name of ["@fontsource-variable/inter", "@fontsource/jetbrains-mono", "tailwindcss"]) {
  const { version, license } = JSON.parse(await readFile(join(modules, name, "package.json"), "utf8"));
  const body = await readFile(join(modules, name, "LICENSE"), "utf8");
  await appendFile(licenses, `\n## ${name} - ${version} (${license})\n\n${body}`);
}

// A licence that may not be part of the program ends the build (internal/sbom).
const allowed = new Set([
  "MIT",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "Apache-2.0",
  "MPL-2.0",
  "ISC",
  "0BSD",
  "OFL-1.1",
  "CC0-1.0",
  "CC-BY-4.0",
  "PDDL-1.0",
]);
const parts = [...(await readFile(licenses, "utf8")).matchAll(/^## (\S+) - (\S+) \((.*)\)$/gm)];
const refused = parts.filter(([, , , license]) => !allowed.has(license));
if (parts.length < 10 || refused.length > 0) {
  console.error(
    `the licences of the console: ${parts.length} packages, not allowed: ${refused.map(([heading]) => heading).join(", ")}`,
  );
  process.exit(1);
}

const gz = new Map();
let total = 0;
let fonts = 0;
for await (const path of files(dist)) {
  const name = relative(dist, path);
  if (name === "placeholder.html") continue;
  const body = await readFile(path);
  total += body.length;
  if (extname(name) === ".woff2") fonts += body.length;
  if (!text.has(extname(name))) continue;
  const zipped = gzipSync(body, { level: 9 });
  gz.set(name, zipped.length);
  await writeFile(`${path}.gz`, zipped);
  await writeFile(`${path}.br`, brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
}
await stat(join(dist, "index.html.br"));

// weigh returns the compressed bytes of a chunk, what it imports at once and
// their styles.
function weigh(key, seen = new Set()) {
  if (seen.has(key)) return 0;
  seen.add(key);
  const chunk = manifest[key];
  let sum = gz.get(chunk.file) ?? 0;
  for (const css of chunk.css ?? []) {
    if (!seen.has(css)) sum += gz.get(css) ?? 0;
    seen.add(css);
  }
  for (const other of chunk.imports ?? []) sum += weigh(other, seen);
  return sum;
}

const entryKey = Object.keys(manifest).find((key) => manifest[key].isEntry);
const seenByEntry = new Set();
const entry = weigh(entryKey, seenByEntry);
const lines = [["entry", entry, budget.entry]];
for (const key of manifest[entryKey].dynamicImports ?? []) {
  // What a route loads lazily in turn (the map) counts as part of it.
  const seen = new Set(seenByEntry);
  let route = entry + weigh(key, seen);
  for (const lazy of manifest[key].dynamicImports ?? []) route += weigh(lazy, seen);
  lines.push([`route ${key.replace(/^src\//, "")}`, route, budget.route]);
}
lines.push(["fonts", fonts, budget.fonts], ["dist, uncompressed", total, budget.dist]);

let failed = false;
for (const [what, size, limit] of lines) {
  const over = size > limit;
  failed ||= over;
  const row = `${what.padEnd(34)} ${(size / kB).toFixed(1).padStart(8)} of ${limit / kB} kB${over ? "  OVER BUDGET" : ""}`;
  console.log(row);
}
if (failed) {
  console.error("the console is over its size budget (web/scripts/pack.mjs)");
  process.exit(1);
}
