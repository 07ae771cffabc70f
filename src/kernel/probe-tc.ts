import type { Capability } from '../model/index.ts';
import { CLASSIFIER_OBJECT } from './built.ts';
import { reply, request } from './probe-frames.ts';
import { MARK_TEXT, MASK_TEXT, marksFlows } from './probe-nft.ts';
import type { Place, Round, Trial } from './probe-trial.ts';

const clsact = ({ device }: Place): string => `qdisc add dev ${device} clsact`;
const filter = ({ device }: Place, rest: string, pref = 10): string =>
  `filter add dev ${device} ingress protocol ip pref ${pref} ${rest}`;
const redirect = ({ ifb }: Place): string => `action mirred egress redirect dev ${ifb}`;
const ALL = 'u32 match u32 0 0';

const REDIRECT: readonly Capability[] = ['device ifb', 'qdisc clsact', 'action mirred'];
const U32: readonly Capability[] = [...REDIRECT, 'classifier u32'];

const arriving = (frames: readonly string[], mark?: number): Round => ({ by: 'peer', frames, mark });
const twice = ({ ends }: Place) => [arriving([request(ends)]), arriving([request(ends)])];
const thereAndBack = ({ ends }: Place) => [arriving([request(ends)]), arriving([reply(ends)])];
const unmarkedThenMarked = ({ ends }: Place) => [arriving([request(ends)]), arriving([request(ends)], 1)];

const root = (kind: string, options: string, ...more: string[]): Trial => ({
  capability: `qdisc ${kind}` as Capability,
  needs: [],
  tc: ({ device }) => [
    `qdisc add dev ${device} root handle 7fe0: ${kind} ${options}`,
    ...more.map((line) => line.replace('DEV', device)),
  ],
  rounds: ({ ends }) => [{ by: 'device', frames: [request(ends)] }],
  qdisc: { kind, packets: 1 },
  wrong: 'no packet left through it',
});

const restoresMark = (capability: Capability, action: string): Trial => ({
  capability,
  needs: [...U32, 'nft inet', 'nft ct'],
  nft: marksFlows,
  tc: (place) => [clsact(place), filter(place, `${ALL} action ${action} pipe ${redirect(place)}`)],
  rounds: twice,
  arrives: [`meta mark ${MARK_TEXT}`],
  wrong: 'the packet of a known flow came without the mark of its conntrack entry',
});

/**
 * In order of weight, for those with one first word share a tc process: where one hangs, those behind it stay untold.
 */
export const TC_TRIALS: readonly Trial[] = [
  {
    capability: 'qdisc clsact',
    needs: ['nft inet'],
    tc: (place) => [clsact(place)],
    qdisc: { kind: 'clsact', packets: 0 },
    arrives: [''],
    wrong: 'no packet came through it',
  },
  {
    capability: 'qdisc ingress',
    needs: ['device ifb', 'action mirred', 'classifier u32'],
    tc: (place) => [`qdisc add dev ${place.device} ingress`, filter(place, `${ALL} ${redirect(place)}`)],
    ifb: { least: 1 },
    wrong: 'no packet came through it',
  },
  root('htb', 'default 1', 'class add dev DEV parent 7fe0: classid 7fe0:1 htb rate 1mbit'),
  root('bfifo', 'limit 65536'),
  root('tbf', 'rate 1mbit burst 64kb limit 64kb'),
  root('fq_codel', ''),
  root('sfq', ''),
  root('prio', ''),
  root('cake', 'unlimited besteffort'),
  {
    capability: 'classifier u32',
    needs: ['qdisc clsact'],
    // That it matches shows with the first action behind it.
    tc: (place) => [clsact(place), filter(place, `${ALL} classid 1:1`)],
    wrong: '',
  },
  {
    capability: 'classifier bpf',
    needs: [...REDIRECT, 'nft inet', 'nft ct'],
    tc: (place) => [
      clsact(place),
      `filter add dev ${place.device} ingress protocol all pref 10 bpf object-file ${CLASSIFIER_OBJECT} section ingress ${redirect(place)}`,
    ],
    rounds: thereAndBack,
    // The classes of `new` and `local`, as the object has them before it is patched (native-shim/bpf/steer.bpf.c).
    arrives: ['meta priority 7fe0:3', 'meta priority 7fe0:1'],
    wrong: 'it does not find the conntrack entry of an answer',
  },
  {
    capability: 'classifier u32 mark',
    needs: U32,
    tc: (place) => [clsact(place), filter(place, `${ALL} match mark 1 0xff ${redirect(place)}`)],
    rounds: unmarkedThenMarked,
    ifb: { least: 1, most: 1 },
    wrong: 'the match on the mark was dropped silently: the filter takes every packet',
  },
  {
    capability: 'classifier fw',
    needs: REDIRECT,
    tc: (place) => [clsact(place), filter(place, `handle 0x1/0xff fw ${redirect(place)}`)],
    rounds: unmarkedThenMarked,
    ifb: { least: 1, most: 1 },
    wrong: 'it does not tell packets by their mark',
  },
  {
    capability: 'classifier flower',
    needs: REDIRECT,
    tc: (place) => [clsact(place), filter(place, `flower ip_proto udp dst_port 9 ${redirect(place)}`)],
    ifb: { least: 1 },
    wrong: 'it matched no packet',
  },
  {
    capability: 'classifier flower ct_state',
    needs: [...U32, 'classifier flower', 'action ct', 'nft ct'],
    tc: (place) => [
      clsact(place),
      filter(place, `${ALL} action ct pipe action goto chain 1`),
      filter(place, `chain 1 flower ct_state +trk+est+rpl ${redirect(place)}`, 20),
    ],
    rounds: thereAndBack,
    ifb: { least: 1, most: 1 },
    wrong: 'it does not tell a reply from the packet that opened the flow',
  },
  {
    capability: 'action mirred',
    needs: ['device ifb', 'qdisc clsact', 'classifier u32', 'nft inet'],
    tc: (place) => [clsact(place), filter(place, `${ALL} ${redirect(place)}`)],
    ifb: { least: 1 },
    arrives: [''],
    wrong: 'no packet came through the ifb',
  },
  {
    capability: 'action gact',
    needs: U32,
    tc: (place) => [
      clsact(place),
      filter(place, `chain 1 ${ALL} ${redirect(place)}`, 20),
      filter(place, `${ALL} action goto chain 1`),
    ],
    ifb: { least: 1 },
    wrong: 'it leads to no other chain',
  },
  {
    capability: 'action skbedit',
    needs: [...U32, 'nft inet'],
    tc: (place) => [
      clsact(place),
      filter(place, `${ALL} action skbedit priority 7fe0:2 mark 5 pipe ${redirect(place)}`),
    ],
    arrives: ['meta mark 5 meta priority 7fe0:2'],
    wrong: 'the packet came without its new mark and priority',
  },
  {
    capability: 'action ct',
    needs: [...U32, 'nft ct'],
    tc: (place) => [clsact(place), filter(place, `${ALL} action ct pipe ${redirect(place)}`)],
    ifb: { least: 1 },
    wrong: 'no packet came through it',
  },
  restoresMark('action ctinfo', `ctinfo cpmark ${MASK_TEXT}`),
  restoresMark('action connmark', 'connmark'),
  {
    capability: 'action police',
    needs: U32,
    tc: (place) => [
      clsact(place),
      filter(place, `${ALL} action police rate 8kbit burst 2000 conform-exceed drop/pipe ${redirect(place)}`),
    ],
    rounds: ({ ends }) => [arriving(new Array<string>(10).fill(request(ends, 900)))],
    ifb: { least: 1, most: 9 },
    wrong: 'it let pass what is over the rate, or nothing at all',
  },
];
