import { hasPorts, PROTOCOLS } from '../model/index.ts';
import type { Allowed } from './box.ts';
import { unite } from './intervals.ts';

export const UNKNOWN: Allowed = { values: [], unknown: true };

/** What is known of flows of some protocols, and never of others. */
export const KNOWN_OF_SOME: readonly string[] = ['local.port', 'remote.port', 'tcp.state'];

/** Protocols that have and lack the same of that: TCP, others with ports, those without. */
export const PROTOCOL_CLASSES: readonly { readonly protocols: Allowed; readonly lacks: readonly string[] }[] = [
  { protocols: those((protocol) => protocol === PROTOCOLS.tcp), lacks: [] },
  { protocols: those((protocol) => hasPorts(protocol) && protocol !== PROTOCOLS.tcp), lacks: ['tcp.state'] },
  { protocols: those((protocol) => !hasPorts(protocol)), lacks: KNOWN_OF_SOME },
];

function those(test: (protocol: number) => boolean): Allowed {
  const numbers = Array.from({ length: 256 }, (_, protocol) => protocol).filter(test);
  return {
    values: unite<number>(
      numbers.map((protocol) => [protocol, protocol + 1] as const),
      [],
    ),
    unknown: false,
  };
}
