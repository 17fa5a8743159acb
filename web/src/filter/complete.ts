import { terms, written } from "./terms";

/** A Field is something that a list can be narrowed by. */
export type Field = {
  name: string;
  kind: "text" | "enum" | "number" | "time" | "flag";
  doc: string;
  words?: readonly string[];
};

/** An Option is one way to go on writing: it replaces the text between from and to. */
export type Option = { label: string; doc: string; insert: string; from: number; to: number };

/** What is known of a field's values, the most frequent first. */
export type Known = (field: string) => readonly { value: string; count: number }[];

const most = 10;

/** complete says how the term that the caret stands in may go on. */
export function complete(text: string, caret: number, fields: readonly Field[], known: Known): Option[] {
  const term = terms(text).find((t) => t.from < caret && caret <= t.to);
  if (!term) return fields.slice(0, most).map((f) => start(f, caret, caret, false));
  if (term.field === "") {
    const word = text.slice(term.from + (term.not ? 1 : 0), caret).toLowerCase();
    return fields
      .filter((f) => f.name.startsWith(word) || (word.length > 1 && f.name.includes(word)))
      .slice(0, most)
      .map((f) => start(f, term.from, term.to, term.not));
  }
  const field = fields.find((f) => f.name === term.field);
  const value = term.values.find((v) => v.from <= caret && caret <= v.to);
  if (!field || !value) return [];
  const begun = text.slice(value.from, caret).replace(/^"/, "").toLowerCase();
  return valuesOf(field, term.sign, known)
    .filter((v) => v.value.toLowerCase().includes(begun) && v.value.toLowerCase() !== begun)
    .slice(0, most)
    .map((v) => ({
      label: v.value,
      doc: v.doc,
      insert: `${v.value === "*" || field.kind !== "text" ? v.value : written(v.value)} `,
      from: value.from,
      to: value.to,
    }));
}

function start(f: Field, from: number, to: number, not: boolean): Option {
  const sign = f.kind === "number" ? ">=" : f.kind === "time" ? "<" : ":";
  return { label: `${f.name}${sign}`, doc: f.doc, insert: `${not ? "-" : ""}${f.name}${sign}`, from, to };
}

function valuesOf(field: Field, sign: string, known: Known): { value: string; doc: string }[] {
  if (field.kind === "time") {
    return ["1d", "7d", "30d", "90d", "1y"].map((value) => ({
      value,
      doc: sign.startsWith("<") ? "longer ago than this" : "not longer ago than this",
    }));
  }
  if (field.kind === "number") return [];
  if (field.kind === "flag") return ["true", "false"].map((value) => ({ value, doc: "" }));
  const seen = known(field.name).map((v) => ({ value: v.value, doc: v.count.toLocaleString("en-US") }));
  const rest = (field.words ?? []).filter((w) => !seen.some((s) => s.value === w)).map((value) => ({ value, doc: "" }));
  return [
    ...seen.filter((s) => s.value !== ""),
    ...rest,
    ...(field.kind === "text" ? [{ value: "*", doc: "has any" }] : []),
  ];
}
