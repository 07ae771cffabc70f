/**
 * What the study compares: every treatment of arriving traffic under every load, at every rate and round-trip time.
 * Rates are in bit/s, times in ms.
 */

/** What the box is to keep arriving traffic to. */
export const RATES = [2_000_000, 10_000_000, 40_000_000];
/** Round-trip times of an empty path. */
export const ROUND_TRIPS = [20, 100];

/** The ISP's line is faster than the box's rate by this, and has a FIFO of this much of its own time. */
export const LINE_PART = 0.9;
export const LINE_FIFO_MS = 200;

/** Each run: how long a load has to settle, and how long it is measured then. */
export const settleMs = (treatment) =>
  // A second's worth of the rate lies in its bucket, which a line that is 11 % faster empties in ten seconds.
  treatment === 'nft limit' ? 20_000 : 4000;
export const MEASURE_MS = 10_000;

const burst = (rate, ms) => Math.max(3200, Math.round(((rate / 8) * ms) / 1000));

/** As Headgate sets them: src/shape/tree.ts. */
const htbBurst = (rate) => Math.ceil(rate / 8 / 1000) + 1600;
const bfifoLimit = (rate) => Math.max(140_000, Math.round((rate / 8) * 0.05));

const police = (ms) => (rate) => ({
  tc: [
    'qdisc add dev wan clsact',
    `filter add dev wan ingress protocol ip matchall action police rate ${rate}bit burst ${burst(rate, ms)} mtu 65535 conform-exceed drop index 1`,
  ],
});

const shape = (leaf) => (rate) => ({
  tc: [
    'qdisc add dev ifb0 root handle 1: htb default 1',
    `class add dev ifb0 parent 1: classid 1:1 htb rate ${rate}bit burst ${htbBurst(rate)} cburst ${htbBurst(rate)}`,
    `qdisc add dev ifb0 parent 1:1 handle 10: ${leaf(rate)}`,
    'qdisc add dev wan clsact',
    'filter add dev wan ingress protocol ip matchall action mirred egress redirect dev ifb0',
  ],
});

/** `nft limit` as Headgate's `police` writes it (src/shape/effects.ts), with counters beside it. */
const limit = (rate) => ({
  nft: `table inet study {
  counter offered { }
  counter dropped { }
  limit police { rate over ${Math.round(rate / 8)} bytes/second burst 65536 bytes; }
  chain police-in {
    type filter hook prerouting priority -90; policy accept;
    iifname != "wan" accept
    counter name "offered"
    limit name "police" counter name "dropped" drop
  }
}
`,
});

/** What the box does, each as commands for a rate. */
export const TREATMENTS = {
  none: () => ({}),
  'police 10 ms': police(10),
  'police 100 ms': police(100),
  // The same, measured before and after its bucket is empty.
  'nft limit early': limit,
  'nft limit': limit,
  'htb bfifo': shape((rate) => `bfifo limit ${bfifoLimit(rate)}`),
  'htb sfq': shape(() => 'sfq perturb 10'),
  'htb fq_codel': shape(() => 'fq_codel'),
};

/** What arrives. Beside each goes one voice call: 50 datagrams of 172 bytes a second. */
export const LOADS = {
  voice: { long: 0 },
  bulk: { long: 1 },
  many: { long: 16 },
  /** UDP datagrams of 1200 bytes, on the wire a little more than the rate, and less than the line. */
  paced: { long: 0, udpPart: 1.05 },
  /** Flows of 30 KB that begin at random, a fifth of the rate altogether, beside long ones. */
  p2p: { long: 8, shortPart: 0.2, shortBytes: 30_000 },
};

/** All runs. The call alone shows what the path and the measuring add; that needs no treatment. */
export function allRuns() {
  const runs = [];
  for (const rate of RATES)
    for (const rtt of ROUND_TRIPS)
      for (const load of Object.keys(LOADS))
        for (const treatment of Object.keys(TREATMENTS))
          if (load !== 'voice' || treatment === 'none') runs.push({ rate, rtt, load, treatment });
  return runs;
}
