import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

// WCAG 2.2, success criteria 1.4.3 and 1.4.11, computed from the tokens
// themselves: whoever changes a colour learns at once who can no longer read.

const css = readFileSync(fileURLToPath(new URL("../src/tokens.css", import.meta.url)), "utf8");

type Theme = "light" | "dark";
type Rgb = readonly [number, number, number];

function token(name: string, theme: Theme): Rgb {
  const found = new RegExp(`--${name}: light-dark\\(#([0-9a-f]{6}), #([0-9a-f]{6})\\);`).exec(css);
  if (!found) throw new Error(`tokens.css has no --${name}: light-dark(#rrggbb, #rrggbb)`);
  const hex = found[theme === "light" ? 1 : 2] ?? "";
  return [0, 2, 4].map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255) as unknown as Rgb;
}

const linear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]: Rgb) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);

function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const words = ["fg", "muted", "accent", "allow", "stepup", "deny"];
const grounds = ["bg", "panel", "raised"];

describe.each<Theme>(["light", "dark"])("the %s theme", (theme) => {
  it.each(words.flatMap((w) => grounds.map((g) => [w, g] as const)))("has readable text: %s on %s", (word, ground) => {
    expect(contrast(token(word, theme), token(ground, theme))).toBeGreaterThanOrEqual(4.5);
  });
  it("has readable text on the main button", () => {
    expect(contrast(token("on-accent", theme), token("accent", theme))).toBeGreaterThanOrEqual(4.5);
  });
  it.each(["bg", "panel"])("has visible borders of controls on %s", (ground) => {
    expect(contrast(token("line", theme), token(ground, theme))).toBeGreaterThanOrEqual(3);
  });
  it.each(["allow", "stepup", "deny"])("shows marks on the map's land: %s", (state) => {
    expect(contrast(token(state, theme), token("land", theme))).toBeGreaterThanOrEqual(3);
  });

  // Colour vision deficiencies at full severity: Machado, Oliveira and
  // Fernandes, A Physiologically-based Model for Simulation of Color Vision
  // Deficiency (2009), table of severity 1.0, on linear RGB.
  const deficiencies: [string, number[]][] = [
    ["protanopia", [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998]],
    ["deuteranopia", [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881]],
    ["tritanopia", [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039]],
  ];
  it.each(deficiencies)("keeps the outcomes apart with %s", (_, m) => {
    const seen = ["allow", "stepup", "deny"].map((name) => lab(simulate(token(name, theme), m)));
    for (const [i, a] of seen.entries()) {
      for (const b of seen.slice(i + 1))
        expect(Math.hypot(...a.map((v, k) => v - (b[k] ?? 0)))).toBeGreaterThanOrEqual(20);
    }
  });
});

function simulate(c: Rgb, m: number[]): Rgb {
  const [r, g, b] = c.map(linear) as unknown as Rgb;
  const clamp = (v: number) => Math.min(1, Math.max(0, v));
  return [0, 3, 6].map((i) => clamp((m[i] ?? 0) * r + (m[i + 1] ?? 0) * g + (m[i + 2] ?? 0) * b)) as unknown as Rgb;
}

/** lab turns linear sRGB into CIE L*a*b* (D65). */
function lab([r, g, b]: Rgb): number[] {
  const f = (t: number) => (t > 216 / 24389 ? Math.cbrt(t) : (24389 / 27) * (t / 116) + 16 / 116);
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
  const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
