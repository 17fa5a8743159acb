import { Children, isValidElement, type ReactNode } from "react";

/** Pairs is a list of names and values; values that are empty are left out. */
export function Pairs({ children }: { children: ReactNode }) {
  return (
    <dl className="grid grid-cols-[minmax(84px,auto)_minmax(0,1fr)] content-start gap-x-4 gap-y-1 text-13">
      {Children.toArray(children).filter(isValidElement)}
    </dl>
  );
}

/** Pair is one name with its value. */
export function Pair({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </>
  );
}
