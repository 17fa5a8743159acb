import { Failure } from "./Failure";
import { Skeleton } from "./Skeleton";

/** Pending stands where something will be: its outline, or why it could not be read. */
export function Pending({
  what,
  error,
  again,
  rows,
}: {
  /** What it is, as the beginning of a sentence. */
  what: string;
  error: Error | null;
  again: () => unknown;
  rows?: number;
}) {
  return error ? <Failure what={what} error={error} again={() => void again()} /> : <Skeleton rows={rows} />;
}
