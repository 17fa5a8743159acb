// Starts the program under test and reads from it where it can be reached.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const program = process.env.MUSTER;

/** start runs muster and waits until its output matches a pattern. stop ends it and waits for its end. */
async function start(args, pattern, within = 60_000) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const began = Date.now();
  let output = "";
  const ended = new Promise((resolve) => child.once("close", resolve));
  const stop = async () => {
    child.kill("SIGINT");
    await ended;
  };
  const found = new Promise((resolve, reject) => {
    const read = (chunk) => {
      output += chunk;
      const match = pattern.exec(output);
      if (match) resolve(match);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    ended.then((code) => reject(new Error(`muster ${args[0]} ended with ${code}:\n${output}`)));
    AbortSignal.timeout(within).addEventListener("abort", () =>
      reject(new Error(`muster ${args[0]} said nothing like ${pattern} within ${within} ms:\n${output}`)),
    );
  });
  try {
    return { match: await found, began, stop };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/** demo starts the demonstration and returns its one-time link. */
export async function demo() {
  const { match, began, stop } = await start(["demo", "--no-open"], /(https?:\/\/\S+)\/signin\?\S+[^]*cat (\S+)\/admin\.token/);
  return { url: match[1], link: /\S+/.exec(match[0])[0], data: match[2], began, stop };
}

/** serve starts a server with its data in a folder. */
export async function serve(data, more = ["--listen", "127.0.0.1:0"]) {
  const server = await start(["serve", "--data", data, "--ops-listen", "127.0.0.1:0", "--ext-authz-listen", "127.0.0.1:0", ...more], /serves (https?:\/\/\S+)\n/);
  return { url: server.match[1], stop: server.stop };
}

/** fresh starts a server that knows nothing yet. */
export async function fresh() {
  const data = await mkdtemp(join(tmpdir(), "muster-browser-"));
  const server = await serve(data);
  const url = server.url;
  const login = await start(
    ["login", "--no-open", "--server", url, "--token-file", join(data, "admin.token")],
    /(https?:\/\/\S+\/signin\?\S+)/,
  );
  const stop = async () => {
    await server.stop();
    await rm(data, { recursive: true, force: true });
  };
  return { url, link: login.match[1], stop };
}
