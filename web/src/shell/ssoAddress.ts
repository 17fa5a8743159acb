/**
 * ssoAddress is where single sign-on begins, and comes back to. Only a path of
 * this origin is handed on; the server checks again. The address of the
 * sign-in itself comes from the server, and only its own are followed.
 */
export function ssoAddress(url: string, here: string, origin = window.location.origin): string {
  const begin = new URL(url, origin);
  if (begin.origin !== origin) return "/signin/sso";
  if (safePath(here, origin)) begin.searchParams.set("next", here);
  return begin.pathname + begin.search;
}

/** safePath says whether text is a path of this origin: "//elsewhere", "/\elsewhere" and "https:" are not. */
export function safePath(text: string, origin: string): boolean {
  if (!/^\/(?![/\\])/.test(text) || /[\\\s]/.test(text)) return false;
  try {
    return new URL(text, origin).origin === origin;
  } catch {
    return false;
  }
}
