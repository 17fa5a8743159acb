import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { Pair, Pairs } from "../parts/Pairs";

/** About names what runs here and what it is built from. */
export function About({ version }: { version: string }) {
  return (
    <Card title="About">
      <Pairs>
        <Pair name="Version">
          <Hostile text={version} className="mono" />
        </Pair>
        <Pair name="Interface">
          <a href="/openapi.json" className="mono">
            /openapi.json
          </a>
        </Pair>
        <Pair name="Manual">
          <a href="/docs">/docs</a>
        </Pair>
        <Pair name="Licences">
          <a href="/licenses.txt">what the console is built from</a>
        </Pair>
        <Pair name="Telemetry">none leaves this installation</Pair>
      </Pairs>
    </Card>
  );
}
