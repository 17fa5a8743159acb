/** The look of a link that leads to another part of the same page. */
export const tab =
  "flex h-9 min-w-0 shrink-0 items-center border-b-2 border-transparent px-1 text-13 sm:px-2.5 text-muted no-underline hover:text-fg hover:no-underline aria-[current=page]:border-accent aria-[current=page]:font-[500] aria-[current=page]:text-fg";
