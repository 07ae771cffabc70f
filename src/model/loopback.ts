/** A TCP port of this machine that no other machine can reach. */
export interface Loopback {
  readonly host: '127.0.0.1' | '::1';
  /** 0: any that is free. */
  readonly port: number;
}

/** Reads `127.0.0.1:8080` or `[::1]:8080`; a text says why it is none. */
export function parseLoopback(text: string): Loopback | string {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:]*)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) return 'write 127.0.0.1:PORT or [::1]:PORT';
  const host = match[1] ?? match[2];
  if (host !== '127.0.0.1' && host !== '::1')
    return 'it listens on 127.0.0.1 or [::1] alone: what it tells is not for the network (from afar: ssh -L)';
  return { host, port };
}

/** The address as URLs and the Host header have it. */
export const formatLoopback = ({ host, port }: Loopback): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;
