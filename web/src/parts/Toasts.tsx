import * as Toast from "@radix-ui/react-toast";
import { CircleAlert, CircleCheck, X } from "lucide-react";
import { useSyncExternalStore } from "react";
import { Button } from "./Button";

type Note = { id: number; text: string; tone: "done" | "failed"; undo?: () => void };

let notes: readonly Note[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(change: readonly Note[]) {
  notes = change;
  for (const tell of listeners) tell();
}

/** toast says what just happened; undo, when given, takes it back. */
export function toast(text: string, undo?: () => void) {
  set([...notes.slice(-3), { id: next++, text, tone: "done", undo }]);
}

/** toastFailure says what could not be done, and why. */
export function toastFailure(what: string, error: unknown) {
  const why = error instanceof Error ? error.message : "the reason is unknown";
  set([...notes.slice(-3), { id: next++, text: `${what}: ${why}`, tone: "failed" }]);
}

/** Toasts is the corner where short messages appear; F8 moves the focus there. */
export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => notes,
  );
  const close = (id: number) => set(notes.filter((n) => n.id !== id));
  return (
    <Toast.Provider label="Message" duration={8_000}>
      {shown.map((note) => (
        <Toast.Root
          key={note.id}
          type="foreground"
          onOpenChange={(open) => !open && close(note.id)}
          className="slide-in flex items-start gap-2 rounded-card border border-line bg-panel p-3 shadow-overlay"
        >
          {note.tone === "done" ? (
            <CircleCheck size={16} aria-hidden className="mt-0.5 shrink-0 text-allow" />
          ) : (
            <CircleAlert size={16} aria-hidden className="mt-0.5 shrink-0 text-deny" />
          )}
          <Toast.Description className="min-w-0 flex-1 break-words">{note.text}</Toast.Description>
          {note.undo && (
            <Toast.Action asChild altText="Undo it on the page that you are on">
              <Button
                className="-my-1"
                onClick={() => {
                  note.undo?.();
                  close(note.id);
                }}
              >
                Undo
              </Button>
            </Toast.Action>
          )}
          <Toast.Close asChild>
            <Button look="quiet" icon className="-my-1 -mr-1" aria-label="Close message">
              <X size={16} aria-hidden />
            </Button>
          </Toast.Close>
        </Toast.Root>
      ))}
      <Toast.Viewport className="fixed right-3 bottom-16 z-50 flex w-[min(380px,calc(100vw-24px))] flex-col gap-2 md:bottom-3" />
    </Toast.Provider>
  );
}
