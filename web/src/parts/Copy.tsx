import { Check, Copy as CopyIcon } from "lucide-react";
import { useState } from "react";
import { Button } from "./Button";

/** Copy puts a text on the clipboard and says so. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  return (
    <Button
      onClick={async () => {
        await navigator.clipboard.writeText(text);
        setDone(true);
        window.setTimeout(() => setDone(false), 2_000);
      }}
    >
      {done ? <Check size={14} aria-hidden /> : <CopyIcon size={14} aria-hidden />}
      {/* The button is not announced again; the status is. */}
      <span>{label}</span>
      <span role="status" className="sr-only">
        {done ? "Copied" : ""}
      </span>
    </Button>
  );
}
