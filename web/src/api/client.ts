import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

/** The header that every changing request of a session must carry: a page of another origin cannot set it. */
export const csrfHeader = "Muster-Csrf";

type Schemas = components["schemas"];
export type Approval = Schemas["Approval"];
export type Action = Schemas["Action"];
export type Decision = Schemas["Decision"];
export type Explanation = Schemas["Explanation"];
export type Feature = Schemas["Feature"];
export type Finding = Schemas["Finding"];
export type GlassCode = Schemas["GlassCode"];
export type Identity = Schemas["Identity"];
export type IdentityDetail = Schemas["IdentityDetail"];
export type Credential = Schemas["Credential"];
export type Overview = Schemas["Overview"];
export type Point = Schemas["Point"];
export type Policy = Schemas["Policy"];
export type Snapshot = Schemas["Snapshot"];
export type Promotion = Schemas["Promotion"];
export type PromotionDenial = Schemas["PromotionDenial"];
export type SnapshotDetail = Schemas["SnapshotDetail"];
export type Source = Schemas["Source"];
export type Refusal = Schemas["Refusal"];
export type Entry = Schemas["Entry"];
export type Rate = Schemas["Rate"];
export type Me = Schemas["Me"];
export type Found = Schemas["Found"];
export type LineageOf = Schemas["Lineage"];
export type Person = Schemas["Person"];
export type Token = Schemas["Token"];
export type UsageRow = Schemas["UsageRow"];
export type View = Schemas["View"];
export type Learned = Schemas["Learned"];
export type Outcome = Decision["outcome"];

/** A Problem is an error the server explained (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = "Problem";
    this.status = status;
  }
}

const guard: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET" && request.method !== "HEAD") request.headers.set(csrfHeader, "1");
    return request;
  },
};

export const api = createClient<paths>({ baseUrl: window.location.origin, credentials: "same-origin" });
api.use(guard);

/** exportAddress is where a file of decisions is downloaded from. */
export function exportAddress(query: NonNullable<paths["/v1/decisions/export"]["get"]["parameters"]["query"]>): string {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== "") out.set(name, `${value}`);
  return `/v1/decisions/export?${out}`;
}

type Reply<T> = { data?: T; error?: unknown; response: Response };

/** answer waits for a call and returns its data, or throws a Problem that says why not. */
export async function answer<T>(call: Promise<Reply<T>>): Promise<T> {
  let reply: Reply<T>;
  try {
    reply = await call;
  } catch {
    throw new Problem(0, "Muster cannot be reached. Is it running, and is the network up?");
  }
  const { data, error, response } = reply;
  if (data !== undefined && response.ok) return data;
  throw new Problem(response.status, explain(error, response.status));
}

function explain(error: unknown, status: number): string {
  if (typeof error === "object" && error !== null) {
    const { detail, title, errors } = error as { detail?: string; title?: string; errors?: { message?: string }[] };
    const first = errors?.[0]?.message;
    const text = [detail ?? title, first].filter(Boolean).join(": ");
    if (text) return text;
  }
  return `the server answered ${status}`;
}
