// Empties the folder that is embedded, except for the committed placeholder.
import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = join(dirname(fileURLToPath(import.meta.url)), "../../internal/console/dist");
await mkdir(dist, { recursive: true });
for (const name of await readdir(dist)) {
  if (name !== "placeholder.html") await rm(join(dist, name), { recursive: true });
}
