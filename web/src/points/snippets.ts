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

/** A Kind is a way to connect: a dialect, or a proxy that looks into the calls of tools. */
export type Kind = Dialect | "mcp";

export const kinds: readonly Kind[] = [...dialects.slice(0, 6), "mcp", ...dialects.slice(6)];

/** What the ways to connect are called. */
export const dialectNames: Record<Kind, string> = {
  nginx: "nginx",
  caddy: "Caddy",
  traefik: "Traefik",
  haproxy: "HAProxy",
  envoy: "Envoy",
  proxy: "Muster's proxy",
  mcp: "MCP tools",
  kubernetes: "Kubernetes",
  authzen: "AuthZEN",
};

/** kindDialect is the dialect that a point of this kind is enrolled with. */
export const kindDialect = (kind: Kind): Dialect => (kind === "mcp" ? "proxy" : kind);

/** What is done with the key or the name of the point, where it is not put into the snippet as a header. */
export const afterwards: Partial<Record<Kind, string>> = {
  proxy: " and put its name into the place below: the proxy is part of Muster and needs no key.",
  mcp: " and put its name into the place below. Each call of a tool is then a decision of its own.",
  kubernetes: " whose name is that of the cluster, and put its key into the kubeconfigs of both webhooks below.",
};

const key = "THE_KEY_OF_THE_POINT";

const snippets: Partial<Record<Kind, (origin: string) => string>> = {
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
    proxy_set_header X-Original-Host   $host;
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
  mcp: () => `# the configuration of muster serve
proxies:
  - point: THE_NAME_OF_THE_POINT
    listen: 0.0.0.0:8443
    tls: { cert: /etc/muster/tools.crt, key: /etc/muster/tools.key }
    protocol: mcp
    upstream: { urls: ["http://your-mcp-server"] }`,
  kubernetes: (origin) => `# /etc/kubernetes/muster.yaml, readable by the API server alone
apiVersion: v1
kind: Config
clusters:
  - name: muster
    cluster:
      server: ${origin}/enforce/kubernetes/authorize
      certificate-authority: /etc/kubernetes/muster-ca.crt
users:
  - name: THE_NAME_OF_THE_CLUSTER
    user: {token: ${key}}
contexts:
  - name: muster
    context: {cluster: muster, user: THE_NAME_OF_THE_CLUSTER}
current-context: muster
---
# the file of --authorization-config
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
  - type: Node
    name: node
  - type: Webhook
    name: muster
    webhook:
      connectionInfo:
        type: KubeConfigFile
        kubeConfigFile: /etc/kubernetes/muster.yaml
      subjectAccessReviewVersion: v1
      matchConditionSubjectAccessReviewVersion: v1
      timeout: 1s
      authorizedTTL: 5s
      unauthorizedTTL: 5s
      failurePolicy: Deny
      matchConditions:
        - expression: request.user.startsWith('system:serviceaccount:')
        - expression: "!request.user.startsWith('system:serviceaccount:kube-system:')"
  - type: RBAC
    name: rbac
---
# kubectl apply -f: what is admitted
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: muster}
webhooks:
  - name: admit.muster.example
    clientConfig:
      url: ${origin}/enforce/kubernetes/admit
      caBundle: LS0t...
    admissionReviewVersions: [v1]
    sideEffects: NoneOnDryRun
    failurePolicy: Fail
    matchPolicy: Equivalent
    timeoutSeconds: 2
    rules:
      - operations: [CREATE, UPDATE, DELETE, CONNECT]
        apiGroups: [""]
        apiVersions: [v1]
        resources: [secrets, pods/exec]
        scope: Namespaced
    matchConditions:
      - name: workloads
        expression: request.userInfo.username.startsWith('system:serviceaccount:payments:')
---
# the file of --admission-control-config-file
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionWebhook
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: WebhookAdmissionConfiguration
      kubeConfigFile: /etc/kubernetes/muster-admission.yaml
---
# /etc/kubernetes/muster-admission.yaml
apiVersion: v1
kind: Config
users:
  - name: ${origin.replace(/^https?:\/\//, "")}
    user: {token: ${key}}`,
  caddy: (origin) => `route {
    request_header -Muster-Identity
    request_header -Muster-Decision
    @tunnel not vars_regexp {http.request.header.Upgrade} (?i)^websocket$
    request_header @tunnel -Upgrade
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
        header_up Muster-Identity {http.request.header.Muster-Identity}
        header_up Muster-Decision {http.request.header.Muster-Decision}
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
          Muster-Attestation: ""
          Upgrade: ""`,
  authzen: (
    origin,
  ) => `curl -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" ${origin}/access/v1/evaluation -d '{
  "subject": {"type": "identity", "id": "nhi_THE_ID_OF_WHO_ASKS"},
  "action": {"name": "read"},
  "resource": {"type": "resource", "id": "payments/api"}
}'`,
};

/** What a dialect without a snippet needs: the manual has the headers. */
export const headers: Partial<Record<Kind, string>> = {
  haproxy: "X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Uri and X-Forwarded-For, once each",
  envoy:
    "the request itself below /enforce/forward-auth, with X-Forwarded-Proto and X-Forwarded-For, once each; by gRPC (ext_authz) the key is metadata of that name and Envoy sends the rest",
};

/** snippet is what to write into a proxy so that it asks; undefined where the manual has to do. */
export const snippet = (kind: Kind, origin: string): string | undefined => snippets[kind]?.(origin);
