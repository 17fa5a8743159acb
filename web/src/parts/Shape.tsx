export type ShapeName = "dot" | "ring" | "half" | "square";

/** Shape is the form of an outcome: filled dot, half dot, hollow square; a ring is what passed and should not have. It takes the colour of its text. */
export function Shape({ name, size = 10 }: { name: ShapeName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 10 10" aria-hidden="true" className="shrink-0">
      {name === "dot" && <circle cx="5" cy="5" r="4.5" fill="currentColor" />}
      {name === "ring" && <circle cx="5" cy="5" r="4" fill="none" stroke="currentColor" strokeWidth="1.5" />}
      {name === "half" && (
        <>
          <circle cx="5" cy="5" r="4" fill="none" stroke="currentColor" strokeWidth="1.5" />
          <path d="M5 1a4 4 0 0 0 0 8z" fill="currentColor" />
        </>
      )}
      {name === "square" && (
        <rect x="1.25" y="1.25" width="7.5" height="7.5" fill="none" stroke="currentColor" strokeWidth="2" />
      )}
    </svg>
  );
}
