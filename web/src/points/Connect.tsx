import { useState } from "react";
import { Card } from "../parts/Card";
import { Choice } from "../parts/Choice";
import { Command } from "../parts/Command";
import { afterwards, dialectNames, headers, type Kind, kindDialect, kinds, snippet } from "./snippets";

/** Connect shows what to write into a proxy so that it asks. */
export function Connect({ preferred }: { preferred: Kind }) {
  const [chosen, setChosen] = useState<Kind>();
  const kind = chosen ?? preferred;
  const text = snippet(kind, window.location.origin);
  return (
    <Card title="How to connect">
      <div className="flex flex-col gap-2">
        <Choice
          label="Dialect"
          value={kind}
          onChange={setChosen}
          options={kinds.map((k) => ({ value: k, label: dialectNames[k] }))}
        />
        <p className="text-13 text-muted">
          Enrol a point of the dialect {kindDialect(kind)}
          {afterwards[kind] ?? " and put its key into the place below."}
          {kind !== "authzen" && " Then name the resources behind it; a request that no route knows is denied."}
        </p>
        {text ? (
          <Command line={text} />
        ) : (
          <p className="text-13">
            Let the proxy ask <span className="mono">{window.location.origin}/enforce/forward-auth</span> with the
            header <span className="mono">Muster-Point-Authorization: Bearer KEY</span> and {headers[kind]}.
          </p>
        )}
        {kind !== "authzen" && <Command line="muster resource apply routes.yaml" />}
      </div>
    </Card>
  );
}
