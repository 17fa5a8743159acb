import type { ButtonHTMLAttributes } from "react";

type Look = "plain" | "main" | "quiet" | "danger";

const looks: Record<Look, string> = {
  plain: "border border-line bg-panel text-fg hover:bg-raised",
  main: "border border-accent bg-accent text-on-accent hover:opacity-90",
  quiet: "border border-transparent text-muted hover:bg-raised hover:text-fg",
  danger: "border border-deny bg-panel text-deny hover:bg-raised",
};

function buttonClass(look: Look, icon: boolean): string {
  return `inline-flex h-8 shrink-0 items-center justify-center gap-1.5 whitespace-nowrap rounded-control ${icon ? "w-8" : "px-3"} text-14 no-underline hover:no-underline disabled:cursor-not-allowed disabled:opacity-60 ${looks[look]}`;
}

/** Button is a button; it does not submit unless asked to. With icon it is square and needs an aria-label. */
export function Button({
  look = "plain",
  icon = false,
  className = "",
  type = "button",
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look; icon?: boolean }) {
  return <button type={type} className={`${buttonClass(look, icon)} ${className}`} {...rest} />;
}
