import type { ReactNode } from "react";

/** Empty says why there is nothing here, and what makes it come. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="mx-auto flex w-full min-w-0 max-w-[60ch] flex-col gap-3 px-4 py-8">
      <h2>{title}</h2>
      <div className="flex min-w-0 flex-col gap-3 text-muted">{children}</div>
    </div>
  );
}
