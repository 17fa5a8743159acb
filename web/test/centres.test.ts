import { expect, it } from "vitest";
import { centres } from "../src/overview/centres";
import { countryName } from "../src/text/words";

it("every mark on the map has a country and lies on the globe", () => {
  expect(centres.size).toBeGreaterThan(240);
  for (const [code, [latitude, longitude]] of centres) {
    expect(countryName(code), code).not.toBe(code);
    expect(Math.abs(latitude), code).toBeLessThanOrEqual(90);
    expect(Math.abs(longitude), code).toBeLessThanOrEqual(180);
  }
});
