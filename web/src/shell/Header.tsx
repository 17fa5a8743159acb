import { CircleHelp, Search as SearchIcon } from "lucide-react";
import type { Me } from "../api/client";
import { Button } from "../parts/Button";
import { ConnectionState } from "./ConnectionState";
import { ThemeButton } from "./ThemeButton";
import { UserMenu } from "./UserMenu";

/** Header holds search, the state of the connection, and what is about the reader rather than the data. */
export function Header({ me, onSearch, onHelp }: { me: Me; onSearch: () => void; onHelp: () => void }) {
  return (
    <header className="bar sticky top-0 z-20 flex h-12 min-w-0 items-center gap-1.5 border-b border-hair bg-panel px-3 md:gap-2 md:px-4">
      <button
        type="button"
        onClick={onSearch}
        className="field flex min-w-0 flex-1 items-center gap-2 text-muted hover:text-fg md:max-w-[380px]"
      >
        <SearchIcon size={16} aria-hidden className="shrink-0" />
        <span className="truncate">Search or paste a key, ARN, id…</span>
        <span className="key ml-auto hidden sm:block" aria-hidden>
          Ctrl K
        </span>
      </button>
      <div className="ml-auto flex items-center gap-1 md:gap-2">
        {me.demo && (
          <span
            className="rounded-control border border-stepup px-1.5 text-12 leading-[20px] text-stepup"
            title="A fictional company, kept in memory. Ctrl-C in the terminal removes everything."
          >
            demo
          </span>
        )}
        <ConnectionState />
        <span className="hidden sm:block">
          <ThemeButton />
        </span>
        <Button look="quiet" icon onClick={onHelp} aria-label="Help and keys">
          <CircleHelp size={16} aria-hidden />
        </Button>
        <UserMenu me={me} />
      </div>
    </header>
  );
}
