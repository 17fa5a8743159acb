import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { identity } from "../api/queries";
import { short } from "../text/format";
import { Hostile } from "./Hostile";

/** IdentityLink names an identity and leads to it; a missing name is asked for. */
export function IdentityLink({ id, name, className = "" }: { id: string; name?: string; className?: string }) {
  const known = useQuery({ ...identity(id), enabled: id !== "" && !name });
  if (!id) return <span className="text-muted">{name ? <Hostile text={name} /> : "nobody known"}</span>;
  return (
    <Link to="/identities/$id" params={{ id }} className={`min-w-0 truncate ${className}`}>
      <Hostile text={name || known.data?.name || short(id)} />
    </Link>
  );
}
