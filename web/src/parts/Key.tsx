import { Button } from "./Button";
import { Command } from "./Command";
import { Dialog } from "./Dialog";

/** Key shows a new key once. It is gone when the dialog closes. */
export function Key({ title, value, onClose }: { title: string; value: string; onClose: () => void }) {
  return (
    <Dialog title={title} open onClose={onClose}>
      <div className="flex flex-col gap-3">
        <p>This is its key. It is shown now and never again: Muster keeps only a verifier of it.</p>
        <Command line={value} label="Copy key" />
        <div className="flex justify-end">
          <Button look="main" onClick={onClose}>
            I have stored it
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
