// What the page asks the service. The key stands in the URL's fragment, which no server sees; it is kept for this tab alone.

const KEPT = 'headgate';
let token = '';

/** Takes the key from the address, and out of it; where it has none, the one that this tab had. */
export function takeToken(): void {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, '', location.pathname);
  }
  token = sessionStorage.getItem(KEPT) ?? '';
}

/** The service has answered that it does not do this. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @throws Refused; TypeError where nobody answers */
export async function ask(
  path: string,
  signal?: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const response = await fetch(path, {
    headers: { ...headers, authorization: `Bearer ${token}` },
    cache: 'no-store',
    credentials: 'omit',
    signal: signal ?? null,
  });
  if (response.ok) return response;
  const text = await response.text();
  let message = text;
  try {
    message = (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    // Then it is not ours that answers, and says what it says.
  }
  throw new Refused(response.status, message);
}

export const get = async <T>(path: string, signal?: AbortSignal): Promise<T> =>
  (await (await ask(path, signal)).json()) as T;
