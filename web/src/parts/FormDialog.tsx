import type { ReactNode } from "react";
import { Button } from "./Button";
import { Dialog } from "./Dialog";

/**
 * FormDialog is a dialog in which something is written and then done. It stays
 * open when that fails, with what was written and with the reason.
 */
export function FormDialog({
  title,
  verb,
  keep = "Cancel",
  danger = false,
  wide,
  failed,
  act,
  ready = true,
  onSubmit,
  onClose,
  children,
}: {
  title: string;
  /** What the button that does it is called. */
  verb: string;
  /** What the way out is called. */
  keep?: string;
  danger?: boolean;
  wide?: boolean;
  /** What is said when it fails, before the reason. */
  failed: string;
  /** How the act stands. */
  act: { isPending: boolean; error: Error | null };
  /** Whether what was written is enough. */
  ready?: boolean;
  onSubmit: () => void;
  onClose: () => void;
  children: ReactNode;
}) {
  return (
    <Dialog title={title} open onClose={onClose} wide={wide}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          onSubmit();
        }}
      >
        {children}
        {act.error && (
          <p role="alert" className="break-words text-13 text-deny">
            {failed}: {act.error.message}
          </p>
        )}
        <div className="flex flex-wrap justify-end gap-2">
          <Button onClick={onClose}>{keep}</Button>
          <Button look={danger ? "danger" : "main"} type="submit" disabled={act.isPending || !ready}>
            {verb}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
