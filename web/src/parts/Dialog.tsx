import { X } from "lucide-react";
import { type ReactNode, useId, useLayoutEffect, useRef } from "react";
import { Button } from "./Button";

/**
 * Dialog asks or tells something above the page. It is the browser's own modal
 * dialog: focus stays inside, Escape closes it, focus returns to where it was.
 * (Radix locks scrolling with an injected style, which our content security
 * policy forbids.)
 */
export function Dialog({
  title,
  open,
  onClose,
  children,
  wide = false,
  top = false,
}: {
  title: string;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
  wide?: boolean;
  /** It stands at the top, so that it does not move while its content grows. */
  top?: boolean;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // Closed before it is taken out of the page: only then does the browser give the focus back.
  useLayoutEffect(() => {
    const dialog = ref.current;
    if (!dialog || !open) return;
    dialog.showModal();
    return () => dialog.close();
  }, [open]);
  if (!open) return null;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a modal dialog by itself; the click is on the backdrop
    <dialog
      ref={ref}
      aria-labelledby={heading}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onClick={(e) => {
        if (e.target === e.currentTarget) onClose();
      }}
      className={`${top ? "mx-auto mt-[8dvh] mb-auto" : "m-auto"} max-h-[90dvh] w-[calc(100vw-24px)] overflow-auto rounded-card border border-hair bg-panel p-0 text-fg shadow-overlay ${wide ? "max-w-[680px]" : "max-w-[480px]"}`}
    >
      <div className="p-4">
        <div className="mb-3 flex items-start justify-between gap-3">
          <h2 id={heading} className="text-16">
            {title}
          </h2>
          <Button look="quiet" icon className="-mt-1 -mr-1" onClick={onClose} aria-label="Close">
            <X size={16} aria-hidden />
          </Button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
