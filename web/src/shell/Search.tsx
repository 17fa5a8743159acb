import { useNavigate } from "@tanstack/react-router";
import { useEffect, useId, useState } from "react";
import { answer, api, type Found } from "../api/client";
import { Dialog } from "../parts/Dialog";
import { Hostile } from "../parts/Hostile";
import { toastFailure } from "../parts/Toasts";
import { pages } from "./pages";
import { useFind } from "./useFind";

/** Search finds whatever a text is or names, and goes there. */
export default function Search({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Search" open onClose={onClose} wide top>
      <SearchBox onClose={onClose} />
    </Dialog>
  );
}

type Hit = { id: string; label: string; kind: string; detail: string; go: () => void };

const kinds: Record<string, string> = {
  identity: "Identity",
  credential: "Credential",
  finding: "Finding",
  action: "Action",
  decision: "Decision",
  point: "Point",
  source: "Source",
};

function useHits(words: string, onClose: () => void) {
  const navigate = useNavigate();
  const text = words.trim();
  const { found, state } = useFind(text);
  const open = useOpen();
  const hits: Hit[] = pages
    .filter((p) => text === "" || p.label.toLowerCase().startsWith(text.toLowerCase()))
    .map((p) => ({
      id: p.to,
      label: p.label,
      kind: "Page",
      detail: "",
      go: () => {
        onClose();
        navigate({ to: p.to });
      },
    }));
  const results: Hit[] = found.map((f) => ({
    id: `${f.kind} ${f.id}`,
    label: f.name || f.id,
    kind: kinds[f.kind] ?? f.kind,
    detail: f.detail,
    go: () => {
      onClose();
      open(f);
    },
  }));
  // What was pasted whole comes before a page that happens to begin like it.
  const exact = found.some((f) => f.exact);
  return { hits: exact ? [...results, ...hits] : [...hits, ...results], state };
}

/** useOpen goes to where a found thing is shown. */
function useOpen() {
  const navigate = useNavigate();
  const openCredential = async (id: string) => {
    try {
      const held = await answer(api.GET("/v1/credentials/{id}", { params: { path: { id } } }));
      await navigate({ to: "/identities/$id", params: { id: held.identity }, search: { tab: "credentials" } });
    } catch (error) {
      toastFailure("The credential was not opened", error);
    }
  };
  return (f: Found) => {
    switch (f.kind) {
      case "identity":
        return navigate({ to: "/identities/$id", params: { id: f.id } });
      case "credential":
        return openCredential(f.id);
      case "action":
        return navigate({ to: "/findings", search: { view: "actions" } });
      case "finding":
        return navigate({ to: "/findings", search: { status: "all", id: f.id } });
      case "decision":
        return navigate({ to: "/activity", search: { decision: f.id } });
      case "point":
        return navigate({ to: "/points", search: { point: f.id } });
      case "source":
        return navigate({ to: "/sources" });
    }
  };
}

function SearchBox({ onClose }: { onClose: () => void }) {
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const { hits, state } = useHits(words, onClose);
  const place = Math.min(at, hits.length - 1);
  const chosen = hits[place];
  useEffect(() => {
    document.getElementById(`${list}-${place}`)?.scrollIntoView({ block: "nearest" });
  }, [place, list]);
  return (
    <div className="flex flex-col gap-2">
      <input
        // biome-ignore lint/a11y/noAutofocus: the dialog was opened to type here
        autoFocus
        role="combobox"
        aria-label="Search anything"
        aria-expanded={hits.length > 0}
        aria-controls={list}
        aria-activedescendant={chosen ? `${list}-${place}` : undefined}
        aria-autocomplete="list"
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        placeholder="Name, ARN, id, fingerprint, address; or paste a key"
        maxLength={16_384}
        className="field h-10 w-full"
        value={words}
        onChange={(e) => {
          setWords(e.target.value);
          setAt(0);
        }}
        onKeyDown={(e) => {
          if (e.key === "ArrowDown" || e.key === "ArrowUp") {
            e.preventDefault();
            const step = e.key === "ArrowDown" ? 1 : -1;
            setAt((n) => (Math.min(n, hits.length - 1) + step + hits.length) % Math.max(1, hits.length));
          }
          if (e.key === "Enter") {
            e.preventDefault();
            chosen?.go();
          }
        }}
      />
      <p role="status" className="sr-only">
        {state === "asking" ? "Searching" : `${hits.length} results`}
      </p>
      {hits.length === 0 ? (
        <p className="px-2 py-4 text-muted">
          {state === "failed"
            ? "The search could not be run. Try again in a moment."
            : state === "asking"
              ? "Searching…"
              : "Muster knows nothing like this. A key is recognised when it was made, registered or imported here."}
        </p>
      ) : (
        <div id={list} role="listbox" aria-label="Results" className="max-h-[50dvh] overflow-auto">
          {hits.map((hit, i) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the field that owns the list
            <div
              key={hit.id}
              id={`${list}-${i}`}
              role="option"
              tabIndex={-1}
              aria-selected={hit === chosen}
              onClick={hit.go}
              className="row flex cursor-pointer items-center gap-3 px-2 py-1"
            >
              <span className="w-20 shrink-0 text-12 text-muted">{hit.kind}</span>
              <Hostile text={hit.label} className="min-w-0 flex-1" />
              <span className="flex max-w-[45%] shrink-0 text-12 text-muted">
                <Hostile text={hit.detail} />
              </span>
            </div>
          ))}
        </div>
      )}
      <p className="text-12 text-muted">
        A pasted secret is compared and forgotten: it is not stored, logged or shown.
      </p>
    </div>
  );
}
