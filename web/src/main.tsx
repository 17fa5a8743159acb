import "./app.css";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/client";
import { live } from "./api/live";
import { decisions } from "./api/queries";
import { router } from "./router";

const client = new QueryClient({
  // A session that ends while somebody works shows the way back in.
  queryCache: new QueryCache({
    onError: (error, query) => {
      if (error instanceof Problem && error.status === 401 && query.queryKey[0] !== "me") {
        client.invalidateQueries({ queryKey: ["me"] });
      }
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // What the server refused will not be better a second later.
      retry: (count, error) => !(error instanceof Problem && error.status >= 400 && error.status < 500) && count < 3,
    },
  },
});

// An event says what is no longer fresh; many within half a second are one.
const stale = new Set<string>();
live.onChange = (topic) => {
  if (stale.size === 0) {
    window.setTimeout(() => {
      for (const noun of stale) client.invalidateQueries({ queryKey: [noun] });
      stale.clear();
    }, 500);
  }
  stale.add(topic).add("overview");
};
live.onRefused = () => void client.invalidateQueries({ queryKey: ["me"] });
live.onOpen = () => {
  client
    .fetchQuery({ ...decisions({}, 500), staleTime: 0 })
    .then((page) => live.add(page.items ?? []))
    .catch(() => {}); // the stream goes on without the past
};

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
