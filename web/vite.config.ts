import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The console is built into the Go package that embeds it. The folder is not
// emptied here, because the committed placeholder lies in it: see
// scripts/clean.mjs. The manifest is read, then removed, by scripts/pack.mjs.
export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    outDir: "../internal/console/dist",
    emptyOutDir: false,
    manifest: "manifest.json",
    // Nothing is inlined: the content security policy allows no data: fonts.
    assetsInlineLimit: 0,
    // The licences of what is bundled travel with it; scripts/pack.mjs adds the fonts.
    license: { fileName: "licenses.txt" },
    modulePreload: { polyfill: false },
    target: ["chrome123", "firefox128", "safari17.5"],
    reportCompressedSize: false,
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8700", "/signin": "http://127.0.0.1:8700" } },
  test: { include: ["test/**/*.test.{ts,tsx}"] },
});
