import { Button } from "./Button";

/** Failure says what could not be read and why, and offers to try again. */
export function Failure({ what, error, again }: { what: string; error: Error; again: () => void }) {
  return (
    <div role="alert" className="flex flex-col items-start gap-2 p-4">
      <h2>{what} could not be read</h2>
      <p className="break-words text-muted">{error.message}</p>
      <Button onClick={again}>Try again</Button>
    </div>
  );
}
