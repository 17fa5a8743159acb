import type { InputHTMLAttributes, ReactNode, SelectHTMLAttributes, TextareaHTMLAttributes } from "react";

/** Field puts a label above something to fill in. */
export function Field({
  label,
  className = "",
  children,
}: {
  label: ReactNode;
  className?: string;
  children: ReactNode;
}) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is what it is given
    <label className={`flex min-w-0 flex-col gap-1 text-13 ${className}`}>
      {label}
      {children}
    </label>
  );
}

/** TextField is a line to write, or several where rows are given; mono is for what machines read. */
export function TextField({
  label,
  onText,
  mono = false,
  className,
  ...rest
}: { label: ReactNode; onText: (text: string) => void; mono?: boolean } & (
  | (InputHTMLAttributes<HTMLInputElement> & { rows?: undefined })
  | TextareaHTMLAttributes<HTMLTextAreaElement>
)) {
  const look = `field w-full ${mono ? "mono" : ""}`;
  return (
    <Field label={label} className={className}>
      {rest.rows === undefined ? (
        <input
          autoComplete="off"
          {...(rest as InputHTMLAttributes<HTMLInputElement>)}
          className={look}
          onChange={(e) => onText(e.target.value)}
        />
      ) : (
        <textarea
          {...(rest as TextareaHTMLAttributes<HTMLTextAreaElement>)}
          className={look}
          onChange={(e) => onText(e.target.value)}
        />
      )}
    </Field>
  );
}

/** Select chooses one of several words. */
export function Select<T extends string>({
  label,
  options,
  onChoose,
  className,
  ...rest
}: Omit<SelectHTMLAttributes<HTMLSelectElement>, "value"> & {
  label: ReactNode;
  value: T;
  options: readonly (T | { value: T; label: string })[];
  onChoose: (value: T) => void;
}) {
  return (
    <Field label={label} className={className}>
      <select {...rest} className="field w-full" onChange={(e) => onChoose(e.target.value as T)}>
        {options.map((o) =>
          typeof o === "string" ? (
            <option key={o}>{o}</option>
          ) : (
            <option key={o.value} value={o.value}>
              {o.label}
            </option>
          ),
        )}
      </select>
    </Field>
  );
}
