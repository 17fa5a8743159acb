import { useState } from "react";
import { count } from "../text/format";
import { Button } from "./Button";

/** useReading says whether pointer or focus is in a place: then nothing there may move. */
export function useReading() {
  const [pointer, setPointer] = useState(false);
  const [focus, setFocus] = useState(false);
  return {
    reading: pointer || focus,
    place: {
      onPointerEnter: () => setPointer(true),
      onPointerLeave: () => setPointer(false),
      onFocus: () => setFocus(true),
      onBlur: (e: React.FocusEvent) => {
        if (!e.currentTarget.contains(e.relatedTarget)) setFocus(false);
      },
    },
  };
}

/** NewRows says how many rows wait until nobody reads, and lets them in. */
export function NewRows({ waiting, onShow }: { waiting: number; onShow: () => void }) {
  if (waiting === 0) return null;
  return (
    <div className="pointer-events-none absolute inset-x-0 top-1 z-10 flex justify-center">
      <Button look="main" onClick={onShow} className="pointer-events-auto h-7 shadow-overlay">
        {count(waiting)} new
      </Button>
    </div>
  );
}
