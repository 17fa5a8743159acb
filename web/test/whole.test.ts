// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { whole } from "../src/api/queries";

describe("whole", () => {
  it("reads a list to its end", async () => {
    const asked: (string | undefined)[] = [];
    const got = await whole(async ({ page_token }) => {
      asked.push(page_token);
      const at = Number(page_token ?? 0);
      return { items: [at], next: at < 3 ? String(at + 1) : undefined, total: 4 };
    });
    expect(got.items).toEqual([0, 1, 2, 3]);
    expect(asked).toEqual([undefined, "1", "2", "3"]);
  });

  it("ends with a list that does not", async () => {
    let pages = 0;
    await whole(async () => ({ items: [pages++], next: "on", total: 1 }));
    expect(pages).toBe(20);
  });
});
