import { useEffect, useId, useRef, useState } from "react";
import { typing } from "../parts/typing";
import { clean } from "../text/hostile";
import { complete, type Field, type Known, type Option } from "./complete";
import { errorColumn } from "./terms";

/**
 * QueryField writes a filter: it offers fields and values, and shows where the
 * server stumbled. Enter applies; / goes to it, Escape leaves it.
 */
export function QueryField({
  label,
  placeholder,
  value,
  fields,
  known,
  error,
  slash = true,
  onApply,
}: {
  label: string;
  placeholder: string;
  /** The filter in force. */
  value: string;
  fields: readonly Field[];
  known: Known;
  /** What the server said about the filter in force. */
  error?: string;
  /** Whether the key / leads to it; one field of a page has it. */
  slash?: boolean;
  onApply: (filter: string) => void;
}) {
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  const [caret, setCaret] = useState(0);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  useEffect(() => setText(value), [value]);
  useSlash(field, slash);
  const options = open ? complete(text, caret, fields, known) : [];
  const chosen = options[at];

  const apply = (filter: string) => {
    setOpen(false);
    setAt(-1);
    onApply(filter.trim());
  };
  const take = (o: Option) => {
    const next = text.slice(0, o.from) + o.insert + text.slice(o.to).trimStart();
    const end = o.from + o.insert.length;
    setText(next);
    setCaret(end);
    setAt(-1);
    requestAnimationFrame(() => field.current?.setSelectionRange(end, end));
    // A value is a whole term: it counts at once. A field still needs its value.
    if (o.insert.endsWith(" ")) onApply(next.trim());
  };
  return (
    <div className="relative min-w-0 flex-1 basis-64">
      <input
        ref={field}
        role="combobox"
        aria-label={label}
        aria-expanded={options.length > 0}
        aria-controls={`${id}-options`}
        aria-activedescendant={chosen ? `${id}-${at}` : undefined}
        aria-autocomplete="list"
        aria-invalid={error ? true : undefined}
        aria-describedby={error ? `${id}-error` : undefined}
        placeholder={placeholder}
        maxLength={2048}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        className={`field mono w-full ${error ? "border-deny" : ""}`}
        value={text}
        onChange={(e) => {
          setText(e.target.value);
          setCaret(e.target.selectionStart ?? e.target.value.length);
          setOpen(true);
          setAt(-1);
        }}
        onSelect={(e) => setCaret(e.currentTarget.selectionStart ?? 0)}
        onClick={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={(e) => {
          if ((e.key === "ArrowDown" || e.key === "ArrowUp") && !e.altKey) {
            e.preventDefault();
            if (!open) setOpen(true);
            else if (options.length > 0) {
              const step = e.key === "ArrowDown" ? 1 : -1;
              setAt((n) => (n + step + options.length + (n < 0 && step < 0 ? 1 : 0)) % options.length);
            }
          }
          if (e.key === "Enter" || (e.key === "Tab" && chosen)) {
            e.preventDefault();
            if (chosen) take(chosen);
            else apply(text);
          }
          if (e.key === "Escape") {
            if (options.length > 0) setOpen(false);
            else e.currentTarget.blur();
          }
        }}
      />
      {options.length > 0 && (
        <div
          id={`${id}-options`}
          role="listbox"
          aria-label="Ways to go on"
          className="absolute inset-x-0 top-full z-30 mt-1 max-h-80 overflow-auto rounded-card border border-hair bg-panel py-1 shadow-overlay"
        >
          {options.map((o, i) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the field that owns the list
            <div
              key={o.label}
              id={`${id}-${i}`}
              role="option"
              tabIndex={-1}
              aria-selected={i === at}
              // Pressing must not take the focus from the field.
              onPointerDown={(e) => e.preventDefault()}
              onClick={() => take(o)}
              className="flex min-h-7 cursor-pointer items-center gap-3 px-3 hover:bg-raised aria-selected:bg-raised aria-selected:shadow-[inset_3px_0_0_var(--accent)]"
            >
              <bdi className="mono min-w-0 truncate">{clean(o.label)}</bdi>
              <span className="ml-auto shrink-0 text-12 text-muted">{o.doc}</span>
            </div>
          ))}
        </div>
      )}
      {error && <Wrong id={`${id}-error`} text={value} message={error} />}
    </div>
  );
}

/** Wrong says what the server did not understand, and where. */
function Wrong({ id, text, message }: { id: string; text: string; message: string }) {
  const column = errorColumn(message);
  const at = column === undefined ? undefined : column - 1;
  const letters = Array.from(text);
  return (
    <div id={id} role="alert" className="pt-1 text-12 text-deny">
      {at !== undefined && (
        <p className="mono truncate" aria-hidden>
          {clean(letters.slice(Math.max(0, at - 24), at).join(""))}
          <mark className="rounded-control bg-deny px-0.5 text-panel">
            {clean(letters.slice(at, at + 24).join("")) || "⏎"}
          </mark>
        </p>
      )}
      <p className="break-words">{clean(message)}</p>
    </div>
  );
}

function useSlash(field: React.RefObject<HTMLInputElement | null>, on: boolean) {
  useEffect(() => {
    if (!on) return;
    const onKey = (e: KeyboardEvent) => {
      if (e.key !== "/" || e.ctrlKey || e.metaKey || typing(e.target)) return;
      e.preventDefault();
      field.current?.focus();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [field, on]);
}
