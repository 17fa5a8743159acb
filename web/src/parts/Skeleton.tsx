/** Skeleton holds the place of rows that are on their way. */
export function Skeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div role="status" aria-label="Loading" className="flex flex-col gap-2 p-4">
      {Array.from({ length: rows }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows without content have no other name
        <div key={i} className="skeleton h-5" />
      ))}
    </div>
  );
}
