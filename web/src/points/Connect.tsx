import { Card } from "../parts/Card";
import { Command } from "../parts/Command";

/** nginx's own way of asking: every request waits for a 2xx from auth_request. */
const nginx = (origin: string) => `location / {
    auth_request /muster;
    proxy_pass http://your-service;
}

location = /muster {
    internal;
    proxy_pass ${origin}/enforce/forward-auth;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Muster-Point-Authorization "Bearer THE_KEY_OF_THE_POINT";
    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Original-URI $request_uri;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
}`;

/** Connect shows what to write into a proxy so that it asks. */
export function Connect() {
  return (
    <Card title="How to connect nginx">
      <div className="flex flex-col gap-2">
        <p className="text-13 text-muted">
          Enrol a point with the dialect nginx, put its key below, and name the resources behind it in routes.yaml. A
          request that no route knows is denied.
        </p>
        <Command line={nginx(window.location.origin)} />
        <p className="text-13 text-muted">Then tell Muster what lies behind which path:</p>
        <Command line="muster resource apply routes.yaml" />
      </div>
    </Card>
  );
}
