import { Link } from "@tanstack/react-router";
import { Empty } from "../parts/Empty";

/** NotFound says that an address leads nowhere. */
export function NotFound() {
  return (
    <Empty title="There is no such page">
      <p>The address may be from another version of Muster.</p>
      <p>
        <Link to="/">To the overview</Link>
      </p>
    </Empty>
  );
}
