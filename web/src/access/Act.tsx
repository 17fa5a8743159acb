import type { ComponentProps } from "react";
import { Button } from "../parts/Button";
import { type Right, useRefusal } from "./useMay";

/**
 * Act is a button that changes something. Whoever lacks the right still reaches
 * it by keyboard and is told why it does nothing.
 */
export function Act({ right, ...rest }: ComponentProps<typeof Button> & { right: Right }) {
  const why = useRefusal(right);
  if (!why) return <Button {...rest} />;
  const { onClick: _, type: __, className = "", children, ...looks } = rest;
  return (
    <Button {...looks} aria-disabled="true" title={why} className={`cursor-not-allowed opacity-60 ${className}`}>
      {children}
      <span className="sr-only">, not allowed: {why}</span>
    </Button>
  );
}
