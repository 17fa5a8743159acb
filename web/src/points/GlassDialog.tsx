import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Act } from "../access/Act";
import { answer, api, type GlassCode, type Point } from "../api/client";
import { glassCodes } from "../api/queries";
import { Button } from "../parts/Button";
import { Command } from "../parts/Command";
import { Dialog } from "../parts/Dialog";
import { Pending } from "../parts/Pending";
import { Time } from "../parts/Time";
import { plural } from "../text/format";
import { clean } from "../text/hostile";

/** GlassDialog hands out halves of codes that open a point while the server is away, and shows who holds them. */
export function GlassDialog({ point: p, onClose }: { point: Point; onClose: () => void }) {
  const client = useQueryClient();
  const { data, error, refetch } = useQuery(glassCodes(p.id));
  const path = { id: p.id };
  const onSettled = () => client.invalidateQueries({ queryKey: ["point"] });
  const take = useMutation({
    mutationFn: () => answer(api.POST("/v1/points/{id}/break-glass", { params: { path } })),
    onSettled,
  });
  const withdraw = useMutation({
    mutationFn: (serial: string) =>
      answer(api.DELETE("/v1/points/{id}/break-glass/{serial}", { params: { path: { ...path, serial } } })),
    onSettled,
  });
  const title = `Break-glass: ${clean(p.name).slice(0, 80)}`;
  if (take.data)
    return (
      <Dialog title="Your half of the code" open onClose={onClose}>
        <div className="flex flex-col gap-3">
          <p>
            It is shown now and never again. Write it on paper with its serial, {take.data.id}, seal it, and keep it
            where you reach it without this server. Nobody else may see it.
          </p>
          <Command line={take.data.half} label="Copy half" />
          <p className="text-13 text-muted">
            {take.data.code.state === "ready"
              ? "Both halves are out: together they open the point, once, for an hour at most."
              : "It opens nothing by itself. Ask a second administrator to take the other half here."}
          </p>
          <div className="flex justify-end">
            <Button look="main" onClick={onClose}>
              I have written it down
            </Button>
          </div>
        </div>
      </Dialog>
    );
  const codes = data?.codes ?? [];
  return (
    <Dialog title={title} open wide onClose={onClose}>
      <div className="flex flex-col gap-3">
        <p className="text-13">
          When this server is gone, two people together open the point from its own machine: what the policies refuse
          passes then, for an hour at most, and everybody is told. Each takes a half here, signed in as themselves.
        </p>
        {!data ? (
          <Pending what="The codes" error={error} again={refetch} />
        ) : codes.length === 0 ? (
          <p className="text-13 text-muted">Nobody holds a half yet.</p>
        ) : (
          <ul aria-label="Break-glass codes" className="flex flex-col">
            {codes.map((c) => (
              <Code key={c.serial} c={c} busy={withdraw.isPending} onWithdraw={() => withdraw.mutate(c.serial)} />
            ))}
          </ul>
        )}
        {take.error && <Refused what="No half was taken" error={take.error} />}
        {withdraw.error && <Refused what="Not withdrawn" error={withdraw.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Close</Button>
          <Act right="administer" look="main" disabled={take.isPending} onClick={() => take.mutate()}>
            Take a half
          </Act>
        </div>
      </div>
    </Dialog>
  );
}

function Refused({ what, error }: { what: string; error: Error }) {
  return (
    <p role="alert" className="break-words text-13 text-deny">
      {what}: {error.message}
    </p>
  );
}

const states: Record<GlassCode["state"], string> = {
  half: "One half is out: it opens nothing",
  ready: "Ready",
  used: "Used",
  withdrawn: "Withdrawn",
  expired: "Expired",
};

function Code({ c, busy, onWithdraw }: { c: GlassCode; busy: boolean; onWithdraw: () => void }) {
  const [sure, setSure] = useState(false);
  const alive = c.state === "half" || c.state === "ready";
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-hair py-2 text-13">
      <div className="min-w-0 flex-1 basis-60">
        <span className={`block font-[600] ${c.state === "used" ? "text-deny" : ""}`}>{states[c.state]}</span>
        <span className="block text-12 text-muted">
          {c.serial}, held by {(c.holders ?? []).map((h) => clean(h.name)).join(" and ")}, until <Time at={c.expires} />
        </span>
        {c.opened && (
          <span className="block text-12">
            Opened <Time at={c.opened} />
            {c.ended ? (
              <>
                , over <Time at={c.ended} />
              </>
            ) : (
              ", not over as far as the server knows"
            )}
            : {plural(c.allowed, "request")} let pass. {clean(c.reason ?? "")}
          </span>
        )}
      </div>
      {alive &&
        (sure ? (
          <Button look="danger" disabled={busy} onClick={onWithdraw}>
            Withdraw: both halves become paper
          </Button>
        ) : (
          <Act right="administer" onClick={() => setSure(true)}>
            Withdraw
          </Act>
        ))}
    </li>
  );
}
