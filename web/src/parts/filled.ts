/** The look of a page that fills the window: what is long in it scrolls by itself. */
export const filled = "flex h-[calc(100dvh-48px-56px)] min-h-[420px] min-w-0 flex-col md:h-[calc(100dvh-48px)]";
