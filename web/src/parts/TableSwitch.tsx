import { Button } from "./Button";

/** TableSwitch turns a picture into the table that says the same, and back. */
export function TableSwitch({
  table,
  picture,
  onChange,
}: {
  table: boolean;
  picture: string;
  onChange: (table: boolean) => void;
}) {
  return (
    <Button look="quiet" aria-pressed={table} className="-mr-3" onClick={() => onChange(!table)}>
      {table ? `As ${picture}` : "As table"}
    </Button>
  );
}
