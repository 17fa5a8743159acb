import { Download } from "lucide-react";
import { exportAddress } from "../api/client";
import { Menu } from "../parts/Menu";

const forms = [
  { format: "csv", label: "CSV, for spreadsheets" },
  { format: "jsonl", label: "JSON Lines, for programs" },
] as const;

/** Export downloads the decisions that the page is narrowed to, out of the record. */
export function Export({ query }: { query: Omit<Parameters<typeof exportAddress>[0], "format"> }) {
  return (
    <Menu
      label="Export"
      place="top-24 right-2 w-[260px]"
      className="inline-flex h-8 shrink-0 items-center gap-1.5 rounded-control border border-line bg-panel px-3 hover:bg-raised"
      button={
        <>
          <Download size={14} aria-hidden /> Export
        </>
      }
    >
      {(close) => (
        <>
          <ul className="flex flex-col">
            {forms.map(({ format, label }) => (
              <li key={format}>
                <a
                  href={exportAddress({ ...query, format })}
                  download
                  onClick={close}
                  className="flex h-9 items-center rounded-control px-2 text-fg no-underline hover:bg-raised"
                >
                  {label}
                </a>
              </li>
            ))}
          </ul>
          <p className="px-2 pt-1 text-12 text-muted">
            Out of the record, as it is narrowed by fields; without a time, the last 24 hours. The audit log says that
            you did.
          </p>
        </>
      )}
    </Menu>
  );
}
