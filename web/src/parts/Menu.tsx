import { type ReactNode, useId, useRef } from "react";

/**
 * Menu is a button with a small panel below it. It is the browser's own popover:
 * Escape or a click elsewhere closes it, and the focus returns to the button.
 */
export function Menu({
  label,
  button,
  children,
  className = "",
  place,
}: {
  /** What the button and its panel are called. */
  label: string;
  button: ReactNode;
  children: (close: () => void) => ReactNode;
  className?: string;
  /** The classes that say where the panel stands. */
  place: string;
}) {
  const id = useId();
  const panel = useRef<HTMLDivElement>(null);
  return (
    <>
      <button type="button" popoverTarget={id} aria-label={label} title={label} className={className}>
        {button}
      </button>
      <div
        ref={panel}
        id={id}
        popover="auto"
        role="dialog"
        aria-label={label}
        className={`inset-auto m-0 rounded-card border border-hair bg-panel p-3 text-fg shadow-overlay ${place}`}
      >
        {children(() => panel.current?.hidePopover())}
      </div>
    </>
  );
}
