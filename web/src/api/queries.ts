import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { answer, api, Problem, type UsageRow } from "./client";

// What the pages ask for. Keys begin with the noun, so that an event on the
// live stream can make everything about that noun fresh.

export const me = queryOptions({
  queryKey: ["me"],
  queryFn: () => answer(api.GET("/v1/me")),
  staleTime: 60_000,
  retry: (count, error) => !(error instanceof Problem && error.status === 401) && count < 3,
});

/** signin needs no session: it says how to get one. */
export const signin = queryOptions({
  queryKey: ["signin"],
  queryFn: () => answer(api.GET("/v1/signin")),
  staleTime: 60_000,
});

export const overview = queryOptions({
  queryKey: ["overview"],
  queryFn: () => answer(api.GET("/v1/overview")),
  refetchInterval: 5_000,
});

/** The most pages of a list that is read as a whole: ten thousand rows. */
const wholePages = 20;

/** whole reads a list to its end: what people make by hand, which is little. */
export async function whole<T>(
  read: (query: { limit: number; page_token?: string }) => Promise<{ items: T[]; next?: string; total: number }>,
) {
  const all = await read({ limit: 500 });
  for (let page = 1; all.next && page < wholePages; page++) {
    const part = await read({ limit: 500, page_token: all.next });
    all.items = [...all.items, ...part.items];
    all.next = part.next;
  }
  return all;
}

export type DecisionFilter = { outcome?: "allow" | "deny" | "step-up"; identity?: string; point?: string };

export const decisions = (filter: DecisionFilter, limit = 200) =>
  queryOptions({
    queryKey: ["decision", "list", filter, limit],
    queryFn: () => answer(api.GET("/v1/decisions", { params: { query: { ...filter, limit } } })),
  });

/** decided are the decisions that the server found by a filter, since a time out of the record. */
export const decided = (filter: DecisionFilter & { filter?: string }, since: () => string | undefined, key: string) =>
  infiniteQueryOptions({
    queryKey: ["decision", "found", filter, key],
    queryFn: async ({ pageParam }) => {
      // Every page is asked for with the time of the first.
      const from = pageParam ? pageParam.from : since();
      const query = { ...filter, since: from, limit: 200, page_token: pageParam?.token };
      const page = await answer(api.GET("/v1/decisions", { params: { query } }));
      return { ...page, from };
    },
    initialPageParam: undefined as { token: string; from: string | undefined } | undefined,
    getNextPageParam: (page) => (page.next ? { token: page.next, from: page.from } : undefined),
    refetchInterval: ({ state }) => (state.status === "success" && state.data?.pages.length === 1 ? 3_000 : false),
  });

export const decision = (id: string) =>
  queryOptions({
    queryKey: ["decision", "one", id],
    queryFn: () => answer(api.GET("/v1/decisions/{id}", { params: { path: { id } } })),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** explanation judges a decision again, by the policies in force. */
export const explanation = (id: string) =>
  queryOptions({
    queryKey: ["explanation", id],
    queryFn: () => answer(api.GET("/v1/decisions/{id}/explanation", { params: { path: { id } } })),
    retry: (count, error) => !(error instanceof Problem) && count < 3,
  });

/** refusals are those who were not let in, the newest first. */
export const refusals = (filter: string) =>
  infiniteQueryOptions({
    queryKey: ["refusal", "list", filter],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/v1/refusals", {
          params: { query: { filter: filter || undefined, limit: 100, page_token: pageParam || undefined } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next || undefined,
    // While only the newest are here they come by themselves; further back the list stands still.
    refetchInterval: ({ state }) => (state.status === "success" && state.data?.pages.length === 1 ? 5_000 : false),
  });

export const auditLog = infiniteQueryOptions({
  queryKey: ["audit", "list"],
  queryFn: ({ pageParam }) =>
    answer(api.GET("/v1/audit", { params: { query: { limit: 50, page_token: pageParam || undefined } } })),
  initialPageParam: "",
  getNextPageParam: (page) => page.next || undefined,
});

export type FindingStatus = "open" | "acknowledged" | "resolved" | "dismissed";

export const findings = (filter: { status?: FindingStatus; identity?: string; filter?: string }) =>
  infiniteQueryOptions({
    queryKey: ["finding", "list", filter],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/v1/findings", { params: { query: { ...filter, limit: 50, page_token: pageParam || undefined } } }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next || undefined,
  });

export const finding = (id: string) =>
  queryOptions({
    queryKey: ["finding", "one", id],
    queryFn: () => answer(api.GET("/v1/findings/{id}", { params: { path: { id } } })),
  });

export const approvals = (filter: string) =>
  infiniteQueryOptions({
    queryKey: ["approval", "list", filter],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/v1/approvals", { params: { query: { filter, limit: 50, page_token: pageParam || undefined } } }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next || undefined,
    // What has run out is told by nobody.
    refetchInterval: 30_000,
  });

export const actions = queryOptions({
  queryKey: ["action", "list"],
  queryFn: () => answer(api.GET("/v1/actions", { params: { query: { limit: 200 } } })),
});

export type IdentityFilter = { filter?: string; order?: string };

export const identities = (filter: IdentityFilter, limit = 50) =>
  infiniteQueryOptions({
    queryKey: ["identity", "list", filter, limit],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/v1/identities", { params: { query: { ...filter, limit, page_token: pageParam || undefined } } }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next || undefined,
  });

export const identityFacets = (filter: string) =>
  queryOptions({
    queryKey: ["identity", "facets", filter],
    queryFn: () => answer(api.GET("/v1/identities/facets", { params: { query: { filter: filter || undefined } } })),
    staleTime: 15_000,
    placeholderData: (before) => before,
  });

export const views = queryOptions({
  queryKey: ["view", "list"],
  queryFn: () => whole((query) => answer(api.GET("/v1/views", { params: { query } }))),
  staleTime: 60_000,
});

export const identity = (id: string) =>
  queryOptions({
    queryKey: ["identity", "one", id],
    queryFn: () => answer(api.GET("/v1/identities/{id}", { params: { path: { id } } })),
    staleTime: 30_000,
  });

export const credential = (id: string) =>
  queryOptions({
    queryKey: ["identity", "credential", id],
    queryFn: () => answer(api.GET("/v1/credentials/{id}", { params: { path: { id } } })),
  });

const about = (id: string) => ({ params: { path: { id } } });

export const identityRisk = (id: string) =>
  queryOptions({
    queryKey: ["identity", "risk", id],
    queryFn: () => answer(api.GET("/v1/identities/{id}/risk", about(id))),
  });

export const normal = (id: string) =>
  queryOptions({
    queryKey: ["identity", "normal", id],
    queryFn: () => answer(api.GET("/v1/identities/{id}/normal", about(id))),
  });

export const lineage = (id: string) =>
  queryOptions({
    queryKey: ["identity", "lineage", id],
    queryFn: () => answer(api.GET("/v1/identities/{id}/lineage", about(id))),
    staleTime: 30_000,
  });

export const changes = (id: string) =>
  queryOptions({
    queryKey: ["identity", "changes", id],
    queryFn: () => answer(api.GET("/v1/identities/{id}/changes", about(id))),
  });

/** snapshots are the history of the policies, the newest first. */
export const snapshots = infiniteQueryOptions({
  queryKey: ["snapshot", "list"],
  queryFn: ({ pageParam }) =>
    answer(api.GET("/v1/snapshots", { params: { query: { limit: 50, page_token: pageParam || undefined } } })),
  initialPageParam: "",
  getNextPageParam: (page) => page.next || undefined,
  // What the command line did is told by nobody.
  refetchInterval: ({ state }) => (state.status === "success" && state.data?.pages.length === 1 ? 10_000 : false),
});

/** promotion is the way of policies into force by gates, under way or the last one. */
export const promotion = queryOptions({
  queryKey: ["snapshot", "promotion"],
  queryFn: () => answer(api.GET("/v1/policies/promotion", {})),
  refetchInterval: ({ state }) => (state.data?.running ? 3_000 : 10_000),
});

/** snapshot is one with its files. */
export const snapshot = (digest: string) =>
  queryOptions({
    queryKey: ["snapshot", "one", digest],
    queryFn: () => answer(api.GET("/v1/snapshots/{digest}", { params: { path: { digest } } })),
    staleTime: 10_000,
  });

/** inForce are the policies that decide now. */
export const inForce = (filter: string) =>
  infiniteQueryOptions({
    queryKey: ["policy", "list", filter],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/v1/policies", {
          params: { query: { filter: filter || undefined, limit: 100, page_token: pageParam || undefined } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (page) => page.next || undefined,
  });

export const points = queryOptions({
  queryKey: ["point", "list"],
  queryFn: () => whole((query) => answer(api.GET("/v1/points", { params: { query } }))),
  refetchInterval: 10_000,
});

export const glassCodes = (id: string) =>
  queryOptions({
    queryKey: ["point", "glass", id],
    queryFn: () => answer(api.GET("/v1/points/{id}/break-glass", { params: { path: { id } } })),
  });

export const sources = queryOptions({
  queryKey: ["source", "list"],
  queryFn: () => whole((query) => answer(api.GET("/v1/sources", { params: { query } }))),
});

export const health = queryOptions({
  queryKey: ["health"],
  queryFn: () => answer(api.GET("/v1/health")),
  refetchInterval: 10_000,
});

export const people = queryOptions({
  queryKey: ["person", "list"],
  queryFn: () => whole((query) => answer(api.GET("/v1/people", { params: { query } }))),
});

export const tokens = queryOptions({
  queryKey: ["token", "list"],
  queryFn: () => whole((query) => answer(api.GET("/v1/tokens", { params: { query } }))),
});

export const sessions = queryOptions({
  queryKey: ["session", "list"],
  queryFn: () => whole((query) => answer(api.GET("/v1/sessions", { params: { query } }))),
});

/** The most pages of hours that are read: 90 days are three. */
const usagePages = 5;

/** usage counts the calls of an identity hour by hour, from midnight of the first of some days. */
export const usage = (id: string, days: number) =>
  queryOptions({
    queryKey: ["usage", id, days],
    queryFn: async () => {
      const now = new Date();
      const from = new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1).toISOString();
      const rows: UsageRow[] = [];
      let next: string | undefined;
      for (let page = 0; page < usagePages; page++) {
        const query = { from, bucket: "hour" as const, identity: id, limit: 1_000, page_token: next };
        const part = await answer(api.GET("/v1/usage", { params: { query } }));
        rows.push(...(part.rows ?? []));
        next = part.next_page_token;
        if (!next) break;
      }
      return rows;
    },
    staleTime: 60_000,
  });
