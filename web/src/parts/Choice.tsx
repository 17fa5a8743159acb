import * as ToggleGroup from "@radix-ui/react-toggle-group";
import type { ReactNode } from "react";
import { useNarrow } from "./useMedia";

/** Choice is a row of buttons of which one is chosen; arrow keys move between them. A long one is a list where the window is narrow. */
export function Choice<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly { value: T; label: ReactNode }[];
  onChange: (value: T) => void;
}) {
  // Many words in a narrow window would be several rows of buttons.
  const fold = useNarrow() && options.length > 4 && options.every((o) => typeof o.label === "string");
  if (fold)
    return (
      <select aria-label={label} className="field" value={value} onChange={(e) => onChange(e.target.value as T)}>
        {options.map((o) => (
          <option key={o.value} value={o.value}>
            {o.label}
          </option>
        ))}
      </select>
    );
  return (
    <ToggleGroup.Root
      type="single"
      aria-label={label}
      value={value}
      onValueChange={(v) => v && onChange(v as T)}
      className="inline-flex max-w-full flex-wrap gap-px rounded-control border border-line bg-panel p-px"
    >
      {options.map((o) => (
        <ToggleGroup.Item
          key={o.value}
          value={o.value}
          className="inline-flex h-7 items-center gap-1.5 rounded-[5px] px-2.5 text-13 text-muted hover:text-fg data-[state=on]:bg-raised data-[state=on]:font-[500] data-[state=on]:text-fg data-[state=on]:underline data-[state=on]:decoration-accent data-[state=on]:decoration-2 data-[state=on]:underline-offset-4"
        >
          {o.label}
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  );
}
