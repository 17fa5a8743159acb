import { describe, expect, it } from "vitest";
import { safePath, ssoAddress } from "../src/shell/ssoAddress";

const origin = "https://muster.example";

describe("an open redirect", () => {
  it.each([
    "//evil.example",
    "/\\evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "\\\\evil",
    "/a b",
    "",
    "x",
  ])("%j is not handed on", (here) => {
    expect(safePath(here, origin)).toBe(false);
    expect(ssoAddress("/signin/sso", here, origin)).toBe("/signin/sso");
  });
  it("another origin of the sign-in itself is not followed", () => {
    expect(ssoAddress("https://evil.example/signin", "/", origin)).toBe("/signin/sso");
  });
});

it("the page where the session ended comes back", () => {
  expect(ssoAddress("/signin/sso", "/identities?filter=kind%3Aagent", origin)).toBe(
    "/signin/sso?next=%2Fidentities%3Ffilter%3Dkind%253Aagent",
  );
});
