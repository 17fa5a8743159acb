import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { LogOut } from "lucide-react";
import { useState } from "react";
import { grantText, roles } from "../access/roles";
import { useMay } from "../access/useMay";
import { answer, api, type Me } from "../api/client";
import { sessions, signin } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Choice } from "../parts/Choice";
import { Hostile } from "../parts/Hostile";
import { Pair, Pairs } from "../parts/Pairs";
import { Time } from "../parts/Time";
import { toast, toastFailure } from "../parts/Toasts";
import { readTheme, type Theme, writeTheme } from "../shell/theme";
import { useSignOut } from "../shell/useSignOut";

const rights: Record<string, string> = {
  read: "see",
  triage: "judge findings and name owners",
  respond: "contain and undo",
  administer: "change points, sources, people and settings",
  audit: "read the audit log",
  report: "report logs and leaks",
};

/** You is who is signed in, with which rights, and how the console looks to them. */
export function You({ me }: { me: Me }) {
  const signOut = useSignOut();
  const [theme, setTheme] = useState<Theme>(readTheme);
  return (
    <div className="grid min-w-0 gap-3 lg:grid-cols-2">
      <Card
        title="Who you are"
        aside={
          <Button onClick={() => signOut.mutate()} disabled={signOut.isPending}>
            <LogOut size={14} aria-hidden /> Sign out
          </Button>
        }
      >
        <Pairs>
          <Pair name="Name">
            <Hostile text={me.name} />
          </Pair>
          <Pair name="Roles">
            <ul>
              {(me.roles ?? []).map((g) => (
                <li key={grantText(g)}>
                  <Hostile text={grantText(g)} className="font-[500]" />{" "}
                  <span className="text-muted">{roles[g.role]}</span>
                </li>
              ))}
            </ul>
          </Pair>
          <Pair name="You may">{(me.rights ?? []).map((r) => rights[r] ?? r).join("; ")}</Pair>
          <Pair name="Session">
            ends <Time at={me.expires} never="never" />
          </Pair>
        </Pairs>
      </Card>
      <Card title="Appearance">
        <div className="flex flex-col gap-2 text-13">
          <Choice
            label="Theme"
            value={theme}
            onChange={(to) => {
              setTheme(to);
              writeTheme(to);
            }}
            options={[
              { value: "system", label: "Like the system" },
              { value: "light", label: "Light" },
              { value: "dark", label: "Dark" },
            ]}
          />
          <p className="text-muted">
            Kept in this browser. Motion, contrast and forced colours follow what your system asks for.
          </p>
        </div>
      </Card>
      <Sessions />
      <SignInState />
    </div>
  );
}

/** SignInState says how people get in here. */
function SignInState() {
  const { data } = useQuery(signin);
  const administers = useMay("administer");
  if (!data) return null;
  return (
    <Card title="How people sign in">
      <Pairs>
        <Pair name="Single sign-on">
          {data.sso ? (
            <>
              with <Hostile text={data.sso.name} className="font-[500]" />
            </>
          ) : (
            <span className="text-stepup">
              not set up: people share one-time links
              {administers && (
                <>
                  . Set <span className="mono">access.sso</span> in the configuration file
                </>
              )}
            </span>
          )}
        </Pair>
        <Pair name="First administrator">
          {data.first_administrator
            ? "the first token is alive; it works on this machine only, and dies after a day or at the first single sign-on"
            : "the first token is spent"}
        </Pair>
      </Pairs>
    </Card>
  );
}

/** Sessions are the browsers that are signed in as you; each can be ended. */
function Sessions() {
  const client = useQueryClient();
  const { data } = useQuery(sessions);
  const end = useMutation({
    mutationFn: (id: string) => answer(api.DELETE("/v1/sessions/{id}", { params: { path: { id } } })),
    onSuccess: () => toast("The session ended."),
    onError: (error) => toastFailure("The session was not ended", error),
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["session"] });
      client.invalidateQueries({ queryKey: ["me"] });
    },
  });
  if (!data) return null;
  return (
    <Card title="Where you are signed in" flush={(data.items ?? []).length > 0}>
      {(data.items ?? []).length === 0 && (
        <p className="text-13 text-muted">
          Here only, by a one-time link. Whoever signs in with a name of their own sees each browser here, and can end
          it.
        </p>
      )}
      <ul aria-label="Sessions">
        {(data.items ?? []).map((s) => (
          <li key={s.id} className="flex min-w-0 items-center gap-3 border-t border-hair px-4 py-2 text-13">
            <Hostile text={s.address} className="mono min-w-0 flex-1" />
            <span className="text-12 text-muted">
              since <Time at={s.created} />, used <Time at={s.used} />
            </span>
            <Button disabled={end.isPending} onClick={() => end.mutate(s.id)}>
              End
            </Button>
          </li>
        ))}
      </ul>
    </Card>
  );
}
