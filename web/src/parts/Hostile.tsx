import { clean, runs } from "../text/hostile";

/**
 * Hostile writes text that came from outside: kept apart from the direction of
 * the text around it, cut when it is long (the title has all of it), and with
 * unseen characters written out.
 */
export function Hostile({ text, className = "" }: { text: string; className?: string }) {
  const parts = runs(text);
  return (
    <bdi className={`truncate ${className}`} title={clean(text)}>
      {parts.map((run, i) =>
        run.unseen ? (
          // biome-ignore lint/suspicious/noArrayIndexKey: runs of one string never move
          <span key={i} className="unseen">
            {run.unseen}
          </span>
        ) : (
          run.text
        ),
      )}
    </bdi>
  );
}
