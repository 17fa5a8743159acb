import { X } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef } from "react";
import { Button } from "./Button";

/** SidePanel explains one row beside the list it was chosen from. Escape closes it. */
export function SidePanel({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const heading = useId();
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    // Opened by a row or an address, the explanation is what is read next. While
    // the arrow keys walk through the rows, the focus stays with them.
    if (!document.activeElement?.closest('[role="grid"]')) panel.current?.focus();
  }, []);
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.key === "Escape" && !document.querySelector("dialog[open]")) onClose();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [onClose]);
  return (
    <aside
      ref={panel}
      tabIndex={-1}
      aria-labelledby={heading}
      className="slide-in fixed inset-0 z-40 overflow-y-auto border-l border-hair bg-panel outline-none lg:static lg:z-auto lg:w-[440px] lg:shrink-0"
    >
      <div className="sticky top-0 flex items-center justify-between gap-3 border-b border-hair bg-panel px-4 py-2">
        <h2 id={heading}>{title}</h2>
        <Button look="quiet" icon className="-mr-2" onClick={onClose} aria-label="Close (Esc)">
          <X size={16} aria-hidden />
        </Button>
      </div>
      {children}
    </aside>
  );
}

/** Part is a titled section of an explanation; flush where the explanation has its own margins. */
export function Part({ title, flush = false, children }: { title: string; flush?: boolean; children: ReactNode }) {
  return (
    <section className={`flex min-w-0 flex-col gap-1.5 border-t border-hair ${flush ? "pt-3" : "px-4 py-3"}`}>
      <h3>{title}</h3>
      {children}
    </section>
  );
}
