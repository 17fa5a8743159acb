// The filter language as the field that writes it understands it: where its
// terms stand. What a filter means is the server's business, which also says
// what is wrong with one and in which column (docs/reference/filter.md).

/** A Term is one condition and where it stands in the text. */
export type Term = {
  from: number;
  to: number;
  not: boolean;
  /** Empty for a bare word. */
  field: string;
  /** ":", "<", "<=", ">" or ">="; empty for a bare word. */
  sign: string;
  values: Value[];
};
export type Value = { text: string; quoted: boolean; from: number; to: number };

const head = /^([A-Za-z_]+)(<=|>=|<|>|:|=)/;
const blank = /\s/;

/** terms reads a filter leniently: what is not finished yet counts as it stands. */
export function terms(text: string): Term[] {
  const found: Term[] = [];
  let at = 0;
  while (at < text.length) {
    if (blank.test(text.charAt(at))) {
      at++;
      continue;
    }
    const from = at;
    const not = text.charAt(at) === "-";
    if (not) at++;
    const rest = text.slice(at);
    const match = /^(arn:|[a-z]+:\/\/)/i.test(rest) ? null : head.exec(rest);
    const field = match?.[1]?.toLowerCase() ?? "";
    const sign = match?.[2] === "=" ? ":" : (match?.[2] ?? "");
    at += match?.[0].length ?? 0;
    const values: Value[] = [];
    for (;;) {
      const value = read(text, at, field !== "");
      values.push(value);
      at = value.to;
      if (field === "" || text.charAt(at) !== ",") break;
      at++;
    }
    found.push({ from, to: at, not, field, sign, values });
  }
  return found;
}

function read(text: string, from: number, commas: boolean): Value {
  let at = from;
  if (text.charAt(at) === '"') {
    let value = "";
    for (at++; at < text.length && text.charAt(at) !== '"'; at++) {
      if (text.charAt(at) === "\\" && /["\\]/.test(text.charAt(at + 1))) at++;
      value += text.charAt(at);
    }
    return { text: value, quoted: true, from, to: Math.min(text.length, at + 1) };
  }
  while (at < text.length && !blank.test(text.charAt(at)) && !(commas && text.charAt(at) === ",")) at++;
  return { text: text.slice(from, at), quoted: false, from, to: at };
}

/** written is a value as the language takes it: quoted where it has to be. */
export function written(value: string): string {
  return value === "" || /[\s,:"*\\<>=]/.test(value) || value.startsWith("-")
    ? `"${value.replaceAll(/(["\\])/g, "\\$1")}"`
    : value;
}

const alike = (v: Value, value: string | undefined) =>
  value === undefined ? v.text === "*" && !v.quoted : v.text === value && (v.quoted || v.text !== "*");

/** holds says whether a filter asks for a value of a field (undefined: for any), or with not for its absence. */
export function holds(text: string, field: string, value: string | undefined, not = false): boolean {
  return terms(text).some(
    (t) => t.field === field && t.sign === ":" && t.not === not && t.values.some((v) => alike(v, value)),
  );
}

/**
 * toggle puts a value of a field into a filter, beside the other values of that
 * field, or takes it out. An undefined value with not is "has none".
 */
export function toggle(text: string, field: string, value: string | undefined, not = false): string {
  const all = terms(text);
  const term = (t: Term) => t.field === field && t.sign === ":" && t.not === not;
  if (holds(text, field, value, not)) {
    return join(
      all.flatMap((t) => {
        if (!term(t)) return [text.slice(t.from, t.to)];
        const rest = t.values.filter((v) => !alike(v, value));
        return rest.length === 0
          ? []
          : [`${not ? "-" : ""}${field}:${rest.map((v) => text.slice(v.from, v.to)).join(",")}`];
      }),
    );
  }
  const one = value === undefined ? "*" : written(value);
  const beside =
    value === undefined ? undefined : all.find((t) => term(t) && !t.values.some((v) => alike(v, undefined)));
  if (beside) {
    return join(all.map((t) => (t === beside ? `${text.slice(t.from, t.to)},${one}` : text.slice(t.from, t.to))));
  }
  return join([...all.map((t) => text.slice(t.from, t.to)), `${not ? "-" : ""}${field}:${one}`]);
}

const join = (parts: string[]) => parts.join(" ");

/** errorColumn reads the column out of what the server says about a filter, the first being 1. */
export function errorColumn(message: string): number | undefined {
  const match = /filter, column (\d+)/.exec(message);
  return match ? Number(match[1]) : undefined;
}
