import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useDeferredValue, useEffect, useId, useState } from "react";
import { identities } from "../api/queries";
import { Dialog } from "../parts/Dialog";
import { Hostile } from "../parts/Hostile";
import { kindName } from "../text/words";
import { pages } from "./pages";

/** Search finds an identity by name, path, native id, account or owner, and goes there. */
export default function Search({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Search" open onClose={onClose} wide>
      <SearchBox onClose={onClose} />
    </Dialog>
  );
}

type Hit = { id: string; label: string; detail: string; go: () => void };

function useHits(words: string, onClose: () => void): { hits: Hit[]; searching: boolean; failed: boolean } {
  const navigate = useNavigate();
  const q = useDeferredValue(words.trim());
  const found = useInfiniteQuery({ ...identities({ q }, 12), enabled: q !== "", placeholderData: keepPreviousData });
  const hits: Hit[] = pages
    .filter((p) => q === "" || p.label.toLowerCase().startsWith(q.toLowerCase()))
    .map((p) => ({
      id: p.to,
      label: p.label,
      detail: "page",
      go: () => {
        onClose();
        navigate({ to: p.to });
      },
    }));
  if (q !== "") {
    for (const i of found.data?.pages[0]?.items ?? []) {
      hits.push({
        id: i.id,
        label: i.name,
        detail: `${kindName(i.kind)} · ${i.environment.name || "no environment"}`,
        go: () => {
          onClose();
          navigate({ to: "/identities/$id", params: { id: i.id } });
        },
      });
    }
  }
  return { hits, searching: found.isFetching && q !== "", failed: found.isError && q !== "" };
}

function SearchBox({ onClose }: { onClose: () => void }) {
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const { hits, searching, failed } = useHits(words, onClose);
  const chosen = hits[Math.min(at, hits.length - 1)];
  useEffect(() => {
    document.getElementById(`${list}-${chosen?.id}`)?.scrollIntoView({ block: "nearest" });
  }, [chosen?.id, list]);
  return (
    <div className="flex flex-col gap-2">
      <input
        // biome-ignore lint/a11y/noAutofocus: the dialog was opened to type here
        autoFocus
        role="combobox"
        aria-label="Search identities and pages"
        aria-expanded={hits.length > 0}
        aria-controls={list}
        aria-activedescendant={chosen ? `${list}-${chosen.id}` : undefined}
        aria-autocomplete="list"
        autoComplete="off"
        spellCheck={false}
        placeholder="Name, ARN, account, owner…"
        maxLength={256}
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
        {searching ? "Searching" : `${hits.length} results`}
      </p>
      {hits.length === 0 ? (
        <p className="px-2 py-4 text-muted">
          {failed
            ? "The search could not be run. Try again in a moment."
            : searching
              ? "Searching…"
              : "Nothing has this name. Each word must begin a word of the name, path, native id, account or owner."}
        </p>
      ) : (
        <div id={list} role="listbox" aria-label="Results" className="max-h-[50dvh] overflow-auto">
          {hits.map((hit) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the field that owns the list
            <div
              key={hit.id}
              id={`${list}-${hit.id}`}
              role="option"
              tabIndex={-1}
              aria-selected={hit === chosen}
              onClick={hit.go}
              className="row flex cursor-pointer items-center gap-3 px-2"
            >
              <Hostile text={hit.label} className="min-w-0 flex-1" />
              <span className="max-w-[50%] shrink-0 truncate text-12 text-muted">{hit.detail}</span>
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
