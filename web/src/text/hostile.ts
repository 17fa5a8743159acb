// Names come from clouds, logs and attackers. React writes them as text, so they
// cannot be markup; what is left is characters that change how text *looks*:
// direction overrides, invisible ones, line breaks, terminal controls. They are
// shown instead of obeyed.

/** A run of text, or one character that must be written out. */
export type Run = { text: string; unseen?: string };

/** Control (C0, C1), soft hyphen, Arabic letter mark, zero width, direction, separators, fillers, BOM, interlinear, tags. */
const hidden =
  // biome-ignore lint/suspicious/noControlCharactersInRegex lint/suspicious/noMisleadingCharacterClass: finding them is the point
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]|[\ud800-\udfff]/gu;

function code(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** runs splits outside text where something unseen hides. */
export function runs(text: string): Run[] {
  const found: Run[] = [];
  let from = 0;
  for (const match of text.matchAll(hidden)) {
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: match[0], unseen: code(match[0]) });
    from = match.index + match[0].length;
  }
  if (from < text.length || found.length === 0) found.push({ text: text.slice(from) });
  return found;
}

/** clean is outside text for attributes and labels: what is unseen is written as ⟨U+202E⟩. */
export function clean(text: string): string {
  return runs(text)
    .map((r) => (r.unseen ? `⟨${r.unseen}⟩` : r.text))
    .join("");
}

/** quote makes outside text one safe word of a POSIX shell line. Unseen characters are written as an escape. */
export function quote(text: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text)) return text;
  if (runs(text).some((r) => r.unseen)) {
    const escaped = Array.from(new TextEncoder().encode(text), (b) =>
      b > 0x1f && b < 0x7f && b !== 0x27 && b !== 0x5c
        ? String.fromCharCode(b)
        : `\\x${b.toString(16).padStart(2, "0")}`,
    );
    return `$'${escaped.join("")}'`;
  }
  return `'${text.replaceAll("'", "'\\''")}'`;
}
