// Numbers with units, times with zones.

const whole = new Intl.NumberFormat("en-US");
const oneDigit = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** count writes a whole number: 4,812. */
export function count(n: number): string {
  return whole.format(n);
}

/** counted writes how many there are, or at least how many: 10,000+. */
export function counted(n: number, atLeast: boolean | undefined): string {
  return atLeast ? `${count(n)}+` : count(n);
}

/** plural writes a number and its noun: 1 key, 2 keys, 2 identities. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** rate writes something a second: 0.4, 48, 3,410. */
export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 10 ? oneDigit.format(perSecond) : count(Math.round(perSecond));
}

/** bits writes a surprise: 13.2 bits. */
export function bits(n: number): string {
  return `${oneDigit.format(n)} bits`;
}

/** duration writes microseconds with a fitting unit: 9.4 µs, 1.2 ms. */
export function duration(micros: number): string {
  return micros < 1_000 ? `${oneDigit.format(micros)} µs` : `${oneDigit.format(micros / 1_000)} ms`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const fullFormat = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** instant reads a time of the API; a missing one, or the zero time of the server, is undefined. */
export function instant(text: string | undefined): Date | undefined {
  if (!text || text.startsWith("0001-")) return undefined;
  const t = new Date(text);
  return Number.isNaN(t.getTime()) ? undefined : t;
}

/** clock writes the time of day in the reader's zone: 09:14:07. */
export function clock(t: Date): string {
  return clockFormat.format(t);
}

/** minute writes the time of day without seconds: 09:14. */
export function minute(t: Date): string {
  return minuteFormat.format(t);
}

/** full writes date, time and zone: 12 Mar 2026, 09:14:07 CET. */
export function full(t: Date): string {
  return fullFormat.format(t);
}

const steps: [limit: number, unit: number, name: string][] = [
  [60, 1, "s"],
  [3_600, 60, "min"],
  [86_400, 3_600, "h"],
  [60 * 86_400, 86_400, "d"],
];

/** span writes a length of time given in seconds: 4 s, 12 min, 3 h. */
export function span(seconds: number): string {
  const step = steps.find(([limit]) => seconds < limit) ?? steps[3];
  return step ? `${Math.floor(seconds / step[1])} ${step[2]}` : `${Math.floor(seconds)} s`;
}

/** ago writes how long ago t was, seen from now; past two months it is the date. */
export function ago(t: Date, now: Date): string {
  const seconds = Math.round((now.getTime() - t.getTime()) / 1_000);
  if (seconds < 0) {
    const ahead = steps.find(([limit]) => -seconds < limit);
    return ahead ? `in ${Math.floor(-seconds / ahead[1])} ${ahead[2]}` : dayFormat.format(t);
  }
  if (seconds < 2) return "now";
  const step = steps.find(([limit]) => seconds < limit);
  return step ? `${Math.floor(seconds / step[1])} ${step[2]} ago` : dayFormat.format(t);
}

/** short keeps both ends of a long id: nhi_mzxw6y…5a2q. */
export function short(id: string, keep = 12): string {
  return id.length <= keep + 5 ? id : `${id.slice(0, keep)}…${id.slice(-4)}`;
}
