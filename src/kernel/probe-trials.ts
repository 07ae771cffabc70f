import type { Capability, Command } from '../model/index.ts';
import { CLASSIFIER_OBJECT } from './bpf-object.ts';
import { type Ends, endsOf, reply as replyFrame, request } from './probe-frames.ts';

/** What a trial has for itself in the scratch namespace. */
export interface Place {
  /** An end of a veth pair, up, with an address. */
  readonly device: string;
  /** Its other end. */
  readonly peer: string;
  /** An ifb, up. */
  readonly ifb: string;
  readonly ends: Ends;
}

export const placeOf = (trial: number): Place => ({
  device: `t${trial}`,
  peer: `p${trial}`,
  ifb: `i${trial}`,
  ends: endsOf(trial),
});

/** Packets that are sent at once, as hex. */
export interface Round {
  /** The device that they leave by: the peer, for what is to arrive; the device itself, for what is to leave. */
  readonly from: 'peer' | 'device';
  readonly frames: readonly string[];
  /** skb->mark. */
  readonly mark?: number | undefined;
}

export interface Range {
  readonly least: number;
  readonly most?: number | undefined;
}

/** One capability, how to try it, and the counters that tell whether packets went as they should. */
export interface Trial {
  readonly capability: Capability;
  /** Without these it cannot be tried: where it fails then, it says nothing of the capability. */
  readonly needs: readonly Capability[];
  /** Run in order; what the first that fails says is the answer. */
  commands(place: Place): readonly Command[];
  /** Sent one round after the other; default: one request that arrives. */
  rounds?(place: Place): readonly Round[];
  /** Packets that the ifb takes in. */
  readonly ifb?: Range | undefined;
  /** The device's root qdisc is of this kind, and packets leave through it. */
  readonly root?: string | undefined;
  /** What packets have to have, in nft's words, when they come to the stack: each is counted, and must be seen once. */
  readonly arrives?: readonly string[] | undefined;
  /** Name of an nft counter of the trial's own ruleset that has to count. */
  counter?(place: Place): string;
  /** What to say where it was accepted and the packets did not go as they should. */
  readonly wrong: string;
}

export const roundsOf = (trial: Trial, place: Place): readonly Round[] =>
  trial.rounds?.(place) ?? [{ from: 'peer', frames: [request(place.ends)] }];

/** Our bits of the mark, and a class in them. */
const MASK = '0x7f000000';
const PROBE_MARK = '0x01000000';

const tc = (...lines: string[]): Command => ({ argv: ['tc', '-batch', '-'], input: `${lines.join('\n')}\n` });
const nft = (text: string): Command => ({ argv: ['nft', '-f', '-'], input: text });

const clsact = ({ device }: Place): string => `qdisc add dev ${device} clsact`;
const filter = ({ device }: Place, rest: string, pref = 10): string =>
  `filter add dev ${device} ingress protocol ip pref ${pref} ${rest}`;
const redirect = ({ ifb }: Place): string => `action mirred egress redirect dev ${ifb}`;
const ALL = 'u32 match u32 0 0';

const REDIRECT: readonly Capability[] = ['device ifb', 'qdisc clsact', 'action mirred'];
const U32: readonly Capability[] = [...REDIRECT, 'classifier u32'];

const twice = ({ ends }: Place): Round[] => [
  { from: 'peer', frames: [request(ends)] },
  { from: 'peer', frames: [request(ends)] },
];
const thereAndBack = ({ ends }: Place): Round[] => [
  { from: 'peer', frames: [request(ends)] },
  { from: 'peer', frames: [replyFrame(ends)] },
];
const unmarkedThenMarked = ({ ends }: Place): Round[] => [
  { from: 'peer', frames: [request(ends)] },
  { from: 'peer', frames: [request(ends)], mark: 1 },
];
const leaves = ({ ends }: Place): Round[] => [{ from: 'device', frames: [request(ends)] }];

const LOST = 'no packet came through';

const qdisc = (kind: string, options: string, ...more: string[]): Trial => ({
  capability: `qdisc ${kind}` as Capability,
  needs: [],
  commands: ({ device }) => [
    tc(
      `qdisc add dev ${device} root handle 7fe0: ${kind} ${options}`,
      ...more.map((line) => line.replace('DEV', device)),
    ),
  ],
  rounds: leaves,
  root: kind,
  wrong: LOST,
});

const restoresMark = (capability: Capability, action: string): Trial => ({
  capability,
  needs: [...U32, 'nft inet', 'nft ct'],
  commands: (place) => [
    preroutingChain('inet', place, `ct state new ct mark set ct mark and 0x80ffffff or ${PROBE_MARK}`, 'mangle'),
    tc(clsact(place), filter(place, `${ALL} action ${action} pipe ${redirect(place)}`)),
  ],
  rounds: twice,
  arrives: [`meta mark ${PROBE_MARK}`],
  wrong: "a known flow's packet came without the mark of its conntrack entry",
});

const own = ({ device }: Place): string => `${device}-own`;
/** A table of the trial's own, with one chain and one counter. */
const table = (family: string, place: Place, base: string, rules: readonly string[]): Command =>
  nft(
    `table ${family} ${place.device} {\n  counter ${own(place)} {\n  }\n  chain c {\n    type filter ${base}; policy accept;\n${rules.map((rule) => `    ${rule}\n`).join('')}  }\n}\n`,
  );
const ingressChain = (place: Place, rule: string): Command =>
  table('netdev', place, `hook ingress device "${place.device}" priority 0`, [rule]);
const preroutingChain = (family: string, place: Place, rules: string | readonly string[], priority = '0'): Command =>
  table(
    family,
    place,
    `hook prerouting priority ${priority}`,
    [rules].flat().map((rule) => `iifname "${place.device}" ${rule}`),
  );

/** Tried before the others, for these lean on them: the ifb's, the watching table's, and what makes the kernel track flows. */
export const NFT_INET: Trial = {
  capability: 'nft inet',
  needs: [],
  commands: (place) => [preroutingChain('inet', place, `counter name "${own(place)}"`)],
  counter: own,
  wrong: 'its chain saw no packet',
};

export const NFT_CT: Trial = {
  capability: 'nft ct',
  needs: ['nft inet'],
  commands: (place) => [
    preroutingChain(
      'inet',
      place,
      [
        `ct state new ct direction original ct mark set ct mark and 0x80ffffff or ${PROBE_MARK}`,
        `ct mark and ${MASK} == ${PROBE_MARK} counter name "${own(place)}"`,
      ],
      'mangle',
    ),
  ],
  counter: own,
  wrong: 'an arriving packet got no conntrack entry, or no mark',
};

/** Sends what arrives to an NFLOG group. */
export const logTable = (place: Place, group: number): Command => preroutingChain('inet', place, `log group ${group}`);

export const TRIALS: readonly Trial[] = [
  {
    capability: 'qdisc clsact',
    needs: ['nft inet'],
    commands: (place) => [tc(clsact(place))],
    arrives: [''],
    wrong: LOST,
  },
  {
    capability: 'qdisc ingress',
    needs: ['device ifb', 'action mirred', 'classifier u32'],
    commands: (place) => [tc(`qdisc add dev ${place.device} ingress`, filter(place, `${ALL} ${redirect(place)}`))],
    ifb: { least: 1 },
    wrong: LOST,
  },
  {
    capability: 'classifier u32',
    needs: ['qdisc clsact'],
    // Whether it matches shows with the first action behind it.
    commands: (place) => [tc(clsact(place), filter(place, `${ALL} classid 1:1`))],
    wrong: LOST,
  },
  {
    capability: 'action mirred',
    needs: ['device ifb', 'qdisc clsact', 'classifier u32', 'nft inet'],
    commands: (place) => [tc(clsact(place), filter(place, `${ALL} ${redirect(place)}`))],
    ifb: { least: 1 },
    arrives: [''],
    wrong: 'no packet came through the ifb',
  },
  {
    capability: 'action skbedit',
    needs: [...U32, 'nft inet'],
    commands: (place) => [
      tc(clsact(place), filter(place, `${ALL} action skbedit priority 7fe0:2 mark 5 pipe ${redirect(place)}`)),
    ],
    arrives: ['meta mark 5 meta priority 7fe0:2'],
    wrong: 'the packet came without its new mark and priority',
  },
  {
    capability: 'action police',
    needs: U32,
    commands: (place) => [
      tc(
        clsact(place),
        filter(place, `${ALL} action police rate 8kbit burst 2000 conform-exceed drop/pipe ${redirect(place)}`),
      ),
    ],
    rounds: ({ ends }) => [{ from: 'peer', frames: new Array<string>(10).fill(request(ends, 900)) }],
    ifb: { least: 1, most: 9 },
    wrong: 'it let pass what is over the rate, or nothing',
  },
  {
    capability: 'action ct',
    needs: [...U32, 'nft ct'],
    commands: (place) => [tc(clsact(place), filter(place, `${ALL} action ct pipe ${redirect(place)}`))],
    ifb: { least: 1 },
    wrong: LOST,
  },
  restoresMark('action connmark', 'connmark'),
  restoresMark('action ctinfo', `ctinfo cpmark ${MASK}`),
  {
    capability: 'classifier u32 mark',
    needs: U32,
    commands: (place) => [tc(clsact(place), filter(place, `${ALL} match mark 1 0xff ${redirect(place)}`))],
    rounds: unmarkedThenMarked,
    ifb: { least: 1, most: 1 },
    wrong: 'the match on the mark was dropped silently, and the filter takes every packet',
  },
  {
    capability: 'classifier fw',
    needs: REDIRECT,
    commands: (place) => [tc(clsact(place), filter(place, `handle 0x1/0xff fw ${redirect(place)}`))],
    rounds: unmarkedThenMarked,
    ifb: { least: 1, most: 1 },
    wrong: 'it does not tell packets by their mark',
  },
  {
    capability: 'classifier flower',
    needs: REDIRECT,
    commands: (place) => [tc(clsact(place), filter(place, `flower ip_proto udp dst_port 9 ${redirect(place)}`))],
    ifb: { least: 1 },
    wrong: LOST,
  },
  {
    capability: 'classifier flower ct_state',
    needs: [...U32, 'classifier flower', 'action ct', 'nft ct'],
    commands: (place) => [
      tc(
        clsact(place),
        filter(place, `${ALL} action ct pipe action goto chain 1`),
        filter(place, `chain 1 flower ct_state +trk+est+rpl ${redirect(place)}`, 20),
      ),
    ],
    rounds: thereAndBack,
    ifb: { least: 1, most: 1 },
    wrong: 'it does not tell a reply from the packet that opened the flow',
  },
  {
    capability: 'classifier bpf',
    needs: [...REDIRECT, 'nft inet', 'nft ct'],
    commands: (place) => [
      tc(
        clsact(place),
        `filter add dev ${place.device} ingress protocol all pref 10 bpf object-file ${CLASSIFIER_OBJECT} section ingress ${redirect(place)}`,
      ),
    ],
    rounds: thereAndBack,
    // The classes of `new` and `local`, as the object has them before it is patched; native-shim/bpf/steer.bpf.c.
    arrives: ['meta priority 7fe0:3', 'meta priority 7fe0:1'],
    wrong: 'it loads, but does not find the conntrack entry of an answer',
  },
  qdisc('htb', 'default 1', 'class add dev DEV parent 7fe0: classid 7fe0:1 htb rate 1mbit'),
  qdisc('prio', ''),
  qdisc('cake', 'unlimited besteffort'),
  qdisc('fq_codel', ''),
  qdisc('sfq', ''),
  qdisc('tbf', 'rate 1mbit burst 64kb limit 64kb'),
  qdisc('bfifo', 'limit 65536'),
  {
    capability: 'nft netdev',
    needs: [],
    commands: (place) => [ingressChain(place, `counter name "${own(place)}"`)],
    counter: own,
    wrong: 'its ingress chain saw no packet',
  },
  {
    capability: 'nft priority',
    needs: ['nft netdev', 'nft inet'],
    commands: (place) => [ingressChain(place, 'meta priority set 7fe0:2')],
    arrives: ['meta priority 7fe0:2'],
    wrong: 'the packet came without its priority',
  },
  {
    capability: 'nft fwd',
    needs: ['nft netdev', 'device ifb'],
    commands: (place) => [ingressChain(place, `fwd to "${place.ifb}"`)],
    ifb: { least: 1 },
    wrong: 'no packet came to the ifb',
  },
  {
    capability: 'nft dup',
    needs: ['device ifb'],
    commands: (place) => [
      preroutingChain('ip', place, `dup to 127.0.0.1 device "${place.ifb}"`),
      preroutingChain('ip6', place, `dup to fe80::1 device "${place.ifb}"`),
    ],
    ifb: { least: 1 },
    wrong: 'no copy came to the ifb',
  },
  {
    capability: 'nft limit',
    needs: ['nft inet'],
    commands: (place) => [
      preroutingChain(
        'inet',
        place,
        `limit rate over 100 bytes/second burst 1000 bytes counter name "${own(place)}" drop`,
      ),
    ],
    rounds: ({ ends }) => [{ from: 'peer', frames: new Array<string>(10).fill(request(ends, 900)) }],
    counter: own,
    wrong: 'it let everything pass',
  },
];
