import { expect, it } from "vitest";
import { pages, titleOf } from "../src/shell/pages";

it("each page has a title of its own, and so has what lies below it", () => {
  const titles = pages.map((p) => titleOf(p.to));
  expect(new Set(titles).size).toBe(pages.length);
  expect(titleOf("/points")).toBe("Points · Muster");
  expect(titleOf("/identities/nhi_a")).toBe("Identities · Muster");
  expect(titleOf("/identitiesnot")).toBe("Muster");
});
