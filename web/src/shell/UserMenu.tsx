import { Link } from "@tanstack/react-router";
import { CircleUser, LogOut } from "lucide-react";
import { grantText } from "../access/roles";
import type { Me } from "../api/client";
import { Button } from "../parts/Button";
import { Hostile } from "../parts/Hostile";
import { Menu } from "../parts/Menu";
import { Time } from "../parts/Time";
import { useSignOut } from "./useSignOut";

/** UserMenu says who is signed in with which roles, and ends the session. */
export function UserMenu({ me }: { me: Me }) {
  const signOut = useSignOut();
  return (
    <Menu
      label="You"
      className="inline-flex size-8 shrink-0 items-center justify-center rounded-control text-muted hover:bg-raised hover:text-fg"
      button={<CircleUser size={16} aria-hidden />}
      place="top-12 right-3 w-[min(280px,calc(100vw-24px))]"
    >
      {(close) => (
        <div className="flex flex-col gap-3 text-13">
          <p className="flex min-w-0 flex-col">
            <Hostile text={me.name} className="text-14 font-[600]" />
            {(me.roles ?? []).map((g) => (
              <Hostile key={grantText(g)} text={grantText(g)} className="text-muted" />
            ))}
            {me.kind === "session" && (
              <span className="text-muted">
                session ends <Time at={me.expires} never="never" />
              </span>
            )}
          </p>
          <Link to="/settings" onClick={close}>
            Settings
          </Link>
          <Button onClick={() => signOut.mutate()} disabled={signOut.isPending}>
            <LogOut size={14} aria-hidden /> Sign out
          </Button>
        </div>
      )}
    </Menu>
  );
}
