// Cuts the fonts down to what the console writes: Latin text, punctuation and a
// few arrows; Inter keeps its weights from 400 to 600. Names in other scripts
// fall back to the reader's own fonts.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import subset from "subset-font";

const require = createRequire(import.meta.url);
const out = join(dirname(fileURLToPath(import.meta.url)), "../src/fonts");

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => String.fromCodePoint(from + i)).join("");
const ascii = range(0x20, 0x7e);
const latin = `${ascii}${range(0xa0, 0xff)}ŒœŠšŽžŸ–—‘’“”•…‹›€−×`;

const fonts = [
  [
    "inter.woff2",
    "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    latin,
    { wght: { min: 400, max: 600 } },
  ],
  ["mono.woff2", "@fontsource/jetbrains-mono/files/jetbrains-mono-latin-400-normal.woff2", ascii, undefined],
];

await mkdir(out, { recursive: true });
for (const [name, source, text, variationAxes] of fonts) {
  const target = join(out, name);
  if (existsSync(target)) continue;
  const original = await readFile(require.resolve(source));
  await writeFile(target, await subset(original, text, { targetFormat: "woff2", variationAxes }));
}
