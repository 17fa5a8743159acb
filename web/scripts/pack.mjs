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

// What no script imports is not in the list that the bundler wrote.
const licenses = join(dist, "licenses.txt");
for (const [name, path] of [
  ["Inter", "@fontsource-variable/inter/LICENSE"],
  ["JetBrains Mono", "@fontsource/jetbrains-mono/LICENSE"],
]) {
  const body = await readFile(join(dirname(fileURLToPath(import.meta.url)), "../node_modules", path), "utf8");
  await appendFile(licenses, `\n## ${name}\n\n${body}`);
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
