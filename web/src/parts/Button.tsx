import type { ButtonHTMLAttributes } from "react";

type Look = "plain" | "main" | "quiet" | "danger";

const looks: Record<Look, string> = {
  plain: "border border-line bg-panel text-fg hover:bg-raised",
  main: "border border-accent bg-accent text-on-accent hover:opacity-90",
  quiet: "border border-transparent text-muted hover:bg-raised hover:text-fg",
  danger: "border border-deny bg-panel text-deny hover:bg-raised",
};

/** buttonClass is the look of a button, for links that look like one. */
export function buttonClass(look: Look = "plain"): string {
  return `inline-flex h-8 items-center justify-center gap-1.5 whitespace-nowrap rounded-control px-3 text-14 no-underline hover:no-underline disabled:cursor-not-allowed disabled:opacity-60 ${looks[look]}`;
}

/** Button is a button; it does not submit unless asked to. */
export function Button({
  look = "plain",
  className = "",
  type = "button",
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look }) {
  return <button type={type} className={`${buttonClass(look)} ${className}`} {...rest} />;
}
