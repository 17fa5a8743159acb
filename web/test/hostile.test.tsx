// @vitest-environment jsdom
import { render } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { Hostile } from "../src/parts/Hostile";
import { clean, quote, runs } from "../src/text/hostile";

describe("outside text", () => {
  it.each([
    ["a direction override that hides an extension", "report\u202Efdp.exe", "report⟨U+202E⟩fdp.exe"],
    ["isolates", "a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"],
    ["zero width characters between letters", "ad\u200Bmin", "ad⟨U+200B⟩min"],
    ["a terminal escape", "\u001b[2Jgone", "⟨U+001B⟩[2Jgone"],
    ["a line break that fakes a second row", "ci\nadmin", "ci⟨U+000A⟩admin"],
    ["a C1 control", "x\u009by", "x⟨U+009B⟩y"],
    ["a byte order mark", "\ufeffname", "⟨U+FEFF⟩name"],
    ["tag characters outside the basic plane", "hi\u{e0041}", "hi⟨U+E0041⟩"],
    ["half a surrogate pair", "x\ud800y", "x⟨U+D800⟩y"],
    ["nothing hidden", "ci/release-bot", "ci/release-bot"],
    ["letters of other scripts", "支払い/مرحبا/żółw", "支払い/مرحبا/żółw"],
    ["an emoji", "🔑 key", "🔑 key"],
    ["the empty text", "", ""],
  ])("has %s written out", (_, text, want) => {
    expect(clean(text)).toBe(want);
  });

  it("loses and changes nothing but how it looks", () => {
    const text = "a\u202Eb\u200Bc";
    expect(
      runs(text)
        .map((r) => r.text)
        .join(""),
    ).toBe(text);
  });

  it("cannot become markup", () => {
    const { container } = render(<Hostile text={'<img src=x onerror="alert(1)">\u202E'} />);
    expect(container.querySelector("img")).toBeNull();
    expect(container.textContent).toContain("<img");
    expect(container.querySelector(".unseen")?.textContent).toBe("U+202E");
    expect(container.querySelector("bdi")?.getAttribute("title")).toContain("⟨U+202E⟩");
  });
});

describe("a word of a shell line", () => {
  it.each([
    ["plain ids stay", "nhi_mzxw6ytboi", "nhi_mzxw6ytboi"],
    ["a space is quoted", "two words", "'two words'"],
    ["a substitution stays text", "$(rm -rf ~)", "'$(rm -rf ~)'"],
    ["a quote cannot end the quotes", "a'; id; '", "'a'\\''; id; '\\'''"],
    ["a line break is an escape", "a\nb", "$'a\\x0ab'"],
    ["a quote beside a control is an escape", "a'\u0007", "$'a\\x27\\x07'"],
    ["an override is an escape", "x\u202E", "$'x\\xe2\\x80\\xae'"],
    ["nothing is an empty word", "", "''"],
  ])("is safe: %s", (_, text, want) => {
    expect(quote(text)).toBe(want);
  });
});
