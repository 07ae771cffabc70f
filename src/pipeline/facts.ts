import type { End, FlowFacts, Origin, Tuple } from '../model/index.ts';

/**
 * The two ends of a connection with NAT undone. The original tuple says who opened it and towards which address; the
 * reply tuple says who answered: behind DNAT the true destination, before masquerade the true source.
 */
export function factsOf(origin: Origin, protocol: number, original: Tuple, reply: Tuple): FlowFacts {
  const opener: End = { address: original.source, port: original.sourcePort };
  const answerer: End = { address: reply.source, port: reply.sourcePort };
  // Of a connection between two strangers the opener is as remote as the other; we call it so.
  return origin === 'local'
    ? { origin, protocol, local: opener, remote: answerer }
    : { origin, protocol, local: answerer, remote: opener };
}
