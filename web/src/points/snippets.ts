import type { Point } from "../api/client";

export type Dialect = Point["dialect"];

/** The dialects that a point may speak, the commonest first. */
export const dialects: readonly Dialect[] = [
  "nginx",
  "caddy",
  "traefik",
  "haproxy",
  "envoy",
  "proxy",
  "kubernetes",
  "authzen",
];

const key = "THE_KEY_OF_THE_POINT";

const snippets: Partial<Record<Dialect, (origin: string) => string>> = {
  nginx: (origin) => `location / {
    auth_request     /_muster;
    auth_request_set $muster_identity $upstream_http_muster_identity;
    auth_request_set $muster_decision $upstream_http_muster_decision;
    add_header       Muster-Decision $muster_decision always;

    proxy_pass       http://your-service;
    proxy_set_header Host $http_host;
    proxy_set_header Muster-Identity $muster_identity;
    proxy_set_header Muster-Decision $muster_decision;
    proxy_set_header Authorization "";
    proxy_set_header DPoP "";
    proxy_set_header Muster-Attestation "";
}

location = /_muster {
    internal;
    proxy_pass              ${origin}/enforce/forward-auth;
    proxy_http_version      1.1;
    proxy_set_header        Connection "";
    proxy_connect_timeout   1s;
    proxy_read_timeout      2s;
    proxy_pass_request_body off;
    proxy_set_header        Content-Length "";

    proxy_set_header Muster-Point-Authorization "Bearer ${key}";

    proxy_set_header X-Original-Method $request_method;
    proxy_set_header X-Original-URI    $request_uri;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host  $http_host;
    proxy_set_header X-Forwarded-For   $remote_addr;
    proxy_set_header X-Real-IP         $remote_addr;
    proxy_set_header X-Request-ID      $request_id;
}`,
  proxy: () => `# the configuration of muster serve
proxies:
  - point: THE_NAME_OF_THE_POINT
    listen: 0.0.0.0:8443
    tls: { cert: /etc/muster/your-service.crt, key: /etc/muster/your-service.key }
    upstream: { urls: ["http://your-service"] }`,
  caddy: (origin) => `route {
    request_header -Muster-Identity
    request_header -Muster-Decision
    forward_auth ${origin} {
        uri /enforce/forward-auth
        header_up Muster-Point-Authorization "Bearer ${key}"
        copy_headers Muster-Identity Muster-Decision
        transport http {
            dial_timeout 1s
            response_header_timeout 2s
        }
    }
    @unnamed not header_regexp Muster-Identity ^(nhi_[a-z2-7]+|none)$
    respond @unnamed 403
    reverse_proxy your-service:80 {
        header_up -Authorization
        header_up -DPoP
        header_up -Muster-Attestation
    }
}`,
  traefik: (origin) => `# middlewares of the router, in this order: muster-key, muster, muster-clean
http:
  middlewares:
    muster-key:
      headers:
        customRequestHeaders:
          Muster-Point-Authorization: "Bearer ${key}"
    muster:
      forwardAuth:
        address: "${origin}/enforce/forward-auth"
        trustForwardHeader: false
        authResponseHeaders: [Muster-Identity, Muster-Decision]
    muster-clean: # the service behind must not learn any key
      headers:
        customRequestHeaders:
          Muster-Point-Authorization: ""
          Authorization: ""
          DPoP: ""
          Muster-Attestation: ""`,
  authzen: (
    origin,
  ) => `curl -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" ${origin}/access/v1/evaluation -d '{
  "subject": {"type": "identity", "id": "ci/release"},
  "action": {"name": "read"},
  "resource": {"type": "resource", "id": "payments/api"}
}'`,
};

/** What a dialect without a snippet needs: the manual has the headers. */
export const headers: Partial<Record<Dialect, string>> = {
  haproxy: "X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Uri and X-Forwarded-For, once each",
  envoy:
    "the request itself below /enforce/forward-auth, with X-Forwarded-Proto and X-Forwarded-For, once each; by gRPC (ext_authz) the key is metadata of that name and Envoy sends the rest",
  kubernetes:
    "the reviews of an API server, at /enforce/kubernetes/authorize and /enforce/kubernetes/admit; the key is the bearer token in its kubeconfig",
};

/** snippet is what to write into a proxy so that it asks; undefined where the manual has to do. */
export const snippet = (dialect: Dialect, origin: string): string | undefined => snippets[dialect]?.(origin);
