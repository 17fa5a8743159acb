import { useState } from "react";
import { Card } from "../parts/Card";
import { Choice } from "../parts/Choice";
import { Command } from "../parts/Command";
import { type Dialect, dialects, headers, snippet } from "./snippets";

/** Connect shows what to write into a proxy so that it asks. */
export function Connect({ preferred }: { preferred: Dialect }) {
  const [chosen, setChosen] = useState<Dialect>();
  const dialect = chosen ?? preferred;
  const text = snippet(dialect, window.location.origin);
  return (
    <Card title="How to connect">
      <div className="flex flex-col gap-2">
        <Choice
          label="Dialect"
          value={dialect}
          onChange={setChosen}
          options={dialects.map((d) => ({ value: d, label: d }))}
        />
        <p className="text-13 text-muted">
          Enrol a point with this dialect and put its key into the place below.
          {dialect !== "authzen" && " Then name the resources behind it; a request that no route knows is denied."}
        </p>
        {text ? (
          <Command line={text} />
        ) : (
          <p className="text-13">
            Let the proxy ask <span className="mono">{window.location.origin}/enforce/forward-auth</span> with the
            header <span className="mono">Muster-Point-Authorization: Bearer KEY</span> and {headers[dialect]}.
          </p>
        )}
        {dialect !== "authzen" && <Command line="muster resource apply routes.yaml" />}
      </div>
    </Card>
  );
}
