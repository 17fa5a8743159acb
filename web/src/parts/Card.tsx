import { type ReactNode, useId } from "react";

/** Card is a titled part of a page. */
export function Card({
  title,
  aside,
  children,
  className = "",
  flush = false,
}: {
  title: string;
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
  /** Content reaches the edges (tables, rows). */
  flush?: boolean;
}) {
  const heading = useId();
  return (
    <section aria-labelledby={heading} className={`card min-w-0 ${className}`}>
      <div className="flex min-h-11 flex-wrap items-center justify-between gap-x-3 gap-y-1 px-4 py-2">
        <h2 id={heading}>{title}</h2>
        {aside}
      </div>
      <div className={flush ? "" : "px-4 pb-4"}>{children}</div>
    </section>
  );
}
