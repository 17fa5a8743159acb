import { Link } from "@tanstack/react-router";
import type { Refusal } from "../api/client";
import { Copy } from "../parts/Copy";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pair, Pairs } from "../parts/Pairs";
import { Part, SidePanel } from "../parts/SidePanel";
import { Skeleton } from "../parts/Skeleton";
import { full, instant, plural } from "../text/format";
import { refusalKinds } from "../text/words";
import { Caller } from "./Caller";
import { Kind } from "./RefusalTable";

/** A decision's refusal has the decision's id; those of Muster's own interface have one of their own. */
const decided = (r: Refusal) => !r.id.startsWith("rfs_");

/** address is where this refusal is shown for as long as it is kept, whatever came since. */
const address = (r: Refusal) =>
  `${window.location.origin}/refusals?${new URLSearchParams({ filter: `at>=${r.at} at<=${r.at}`, id: r.id })}`;

/** RefusalDetail says why one caller was not let in, and what helps. */
export function RefusalDetail({
  refusal: r,
  pending,
  onClose,
}: {
  refusal: Refusal | undefined;
  pending: boolean;
  onClose: () => void;
}) {
  return (
    <SidePanel title="Why was it refused?" onClose={onClose}>
      {r ? (
        <Explanation r={r} />
      ) : pending ? (
        <Skeleton />
      ) : (
        <p className="p-4 text-muted">
          This refusal is not among the rows that are here. Show more of them, or take the filter away; refusals are
          kept for 90 days.
        </p>
      )}
    </SidePanel>
  );
}

function Explanation({ r }: { r: Refusal }) {
  const kind = refusalKinds[r.kind];
  const at = instant(r.at);
  return (
    <div>
      <div className="flex flex-col gap-1 px-4 py-3">
        <p className="flex items-center gap-3 text-16 font-[600]">
          <Kind kind={r.kind} />
        </p>
        <p>{kind?.means}</p>
        {r.count > 1 && (
          <p className="text-stepup">
            This row stands for {plural(r.count, "refusal")}: they came too fast to be listed one by one.
          </p>
        )}
      </div>
      <Part title="What helps">
        <p className="text-13">{kind?.cure}</p>
        {decided(r) && (
          <p className="text-13">
            <Link to="/activity" search={{ decision: r.id }}>
              Why it was decided so
            </Link>
          </p>
        )}
      </Part>
      <Part title="What is known">
        <Pairs>
          <Pair name="When">{at ? <time dateTime={r.at}>{full(at)}</time> : "unknown"}</Pair>
          <Pair name={r.identity ? "Identity" : "Says to be"}>
            <Caller r={r} />
          </Pair>
          <Pair name="Address">
            <Hostile text={r.address || "unknown"} className="mono" />
          </Pair>
          <Pair name="Asked for">
            <Hostile text={r.operation || "not known"} className="block whitespace-normal break-words" />
          </Pair>
          <Pair name="Resource">
            <Hostile text={r.resource || "none"} className="block" />
          </Pair>
          <Pair name="Refused by">
            <Hostile
              text={r.reason || "the default: no policy permits it"}
              className="block whitespace-normal break-words"
            />
          </Pair>
          <Pair name="Where">
            {r.point ? <IdentityLink id={r.point} name={r.point_name} /> : "at Muster's own interface"}
          </Pair>
        </Pairs>
      </Part>
      <Part title="More like it">
        <ul className="flex flex-col gap-1 text-13">
          {r.address && <More filter={`address:"${r.address}"`} text="from this address" />}
          {r.identity && <More filter={`identity:${r.identity}`} text="of this identity" />}
          {r.reason && <More filter={`reason:"${r.reason.replaceAll(/(["\\])/g, "\\$1")}"`} text="for this reason" />}
        </ul>
      </Part>
      <Part title="Take it with you">
        <div>
          <Copy label="Copy link" text={address(r)} />
        </div>
      </Part>
    </div>
  );
}

function More({ filter, text }: { filter: string; text: string }) {
  return (
    <li className="flex min-h-6 items-center">
      <Link to="/refusals" search={{ filter }}>
        All {text}
      </Link>
    </li>
  );
}
