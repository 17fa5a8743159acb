import { Link } from "@tanstack/react-router";
import { Card } from "../parts/Card";
import { Command } from "../parts/Command";

/** Start teaches the first steps of an installation that knows nothing yet. */
export function Start() {
  return (
    <div className="grid gap-3 lg:grid-cols-3">
      <Card title="1. Who exists?">
        <div className="flex flex-col gap-2 text-13 text-muted">
          <p>Let AWS write down its identities, and import the file.</p>
          <Command line="aws iam get-account-authorization-details > iam.json" />
          <Command line="muster inventory import aws --authorization-details iam.json" />
        </div>
      </Card>
      <Card title="2. What is normal?">
        <div className="flex flex-col gap-2 text-13 text-muted">
          <p>Replay the logs that you have; Muster learns how each identity behaves.</p>
          <Command line={`muster replay cloudtrail/*.json.gz --to ${window.location.origin}`} />
        </div>
      </Card>
      <Card title="3. Protect something">
        <div className="flex flex-col gap-2 text-13 text-muted">
          <p>
            Enrol an enforcement point. It observes at first, and says what it would refuse.{" "}
            <Link to="/points">Points</Link>
          </p>
          <Command line="muster point enroll edge" />
          <p>Or look around first, in a company that does not exist:</p>
          <Command line="muster demo" />
        </div>
      </Card>
    </div>
  );
}
