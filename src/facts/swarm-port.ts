/**
 * What it takes for a port of an inside host to count as one of a swarm: all of `enter`; and for it to count no more:
 * less than one of `leave`. docs/p2p.md has what servers of other kinds come to.
 */
export const THRESHOLDS = {
  enter: {
    /** Peers that opened flows to the port before it had opened any to them. */
    callers: 6,
    /** Peers that it opened flows to before they had opened any to it. */
    called: 6,
    /** Different ports that it was first to open flows to, divided by those peers: services are on the port that is theirs. */
    spread: 0.5,
  },
  leave: { callers: 3, called: 3, spread: 0.25 },
} as const;

/** How long a peer counts after its last flow has ended, ms. */
export const PEER_LIFE = 600_000;
/** Peers of one port that are remembered; beyond it the one that came longest ago is forgotten. */
export const MOST_PEERS = 512;

interface Peer {
  /** We opened the first flow, to this port of theirs. */
  readonly called: number | undefined;
  flows: number;
  /** When its last flow ended, ms. */
  seen: number;
}

/**
 * One port of one inside host, of TCP and UDP alike, and whom it talks to. What tells is who opened the *first* flow: a
 * server is called and calls nobody; where an entry of UDP has timed out, who sends next looks like an opener.
 */
export class SwarmPort {
  readonly port: number;
  readonly #peers = new Map<string, Peer>();
  /** Of each port that was called, how many peers. */
  readonly #ports = new Map<number, number>();
  #called = 0;
  #isSwarm = false;

  constructor(port: number) {
    this.port = port;
  }

  get isSwarm(): boolean {
    return this.#isSwarm;
  }

  get size(): number {
    return this.#peers.size;
  }

  get callers(): number {
    return this.#peers.size - this.#called;
  }

  get called(): number {
    return this.#called;
  }

  get calledPorts(): number {
    return this.#ports.size;
  }

  /** What speaks for it, and against it: each with what it takes. */
  get evidence(): readonly string[] {
    const { callers, called, spread } = THRESHOLDS.enter;
    return [
      `${count(this.callers, 'peer')} opened flows to port ${this.port} first (of at least ${callers})`,
      `it opened flows to ${count(this.#called, 'other')} first (of at least ${called})`,
      `on ${count(this.#ports.size, 'different port')} (of at least ${Math.ceil(this.#called * spread)})`,
    ];
  }

  has(peer: string): boolean {
    return this.#peers.has(peer);
  }

  /** A flow with a peer begins; `called`: the port of theirs that ours opened it to. True: whether it is a swarm has changed. */
  add(peer: string, called: number | undefined): boolean {
    const known = this.#peers.get(peer);
    if (known) known.flows++;
    else {
      this.#peers.set(peer, { called, flows: 1, seen: Number.POSITIVE_INFINITY });
      if (called !== undefined) this.#count(called, 1);
      if (this.#peers.size > MOST_PEERS) this.#del(this.#peers.keys().next().value!);
    }
    return this.#judge();
  }

  /** A flow with a peer ends. */
  end(peer: string, now: number): void {
    const known = this.#peers.get(peer);
    if (!known) return;
    known.flows = Math.max(0, known.flows - 1);
    if (known.flows === 0) known.seen = now;
  }

  /** Forgets peers whose last flow ended longer than PEER_LIFE ago; where it is of one peer alone, at once. True as for {@link add}. */
  sweep(now: number): boolean {
    const life = this.#peers.size > 1 ? PEER_LIFE : 0;
    for (const [peer, { flows, seen }] of this.#peers) if (flows === 0 && now - seen >= life) this.#del(peer);
    return this.#judge();
  }

  #del(peer: string): void {
    const { called } = this.#peers.get(peer)!;
    this.#peers.delete(peer);
    if (called !== undefined) this.#count(called, -1);
  }

  #count(port: number, step: 1 | -1): void {
    this.#called += step;
    const peers = (this.#ports.get(port) ?? 0) + step;
    if (peers === 0) this.#ports.delete(port);
    else this.#ports.set(port, peers);
  }

  #judge(): boolean {
    const { callers, called, spread } = this.#isSwarm ? THRESHOLDS.leave : THRESHOLDS.enter;
    const isSwarm = this.callers >= callers && this.#called >= called && this.#ports.size >= spread * this.#called;
    const turned = isSwarm !== this.#isSwarm;
    this.#isSwarm = isSwarm;
    return turned;
  }
}

const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'}`;
