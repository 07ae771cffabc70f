import { formatMark } from '../model/index.ts';
import { PORT_HERE, PORT_THERE, request } from './probe-frames.ts';
import type { Attempt, Place, Trial } from './probe-trial.ts';

/** The NFLOG group of the trial `nft log`: of the scratch namespace alone. */
export const LOG_GROUP = 7;

/** A class in our bits of the mark. */
export const MARK = { value: 0x01000000, mask: 0x7f000000 };
export const MARK_TEXT = formatMark(MARK.value);
export const MASK_TEXT = formatMark(MARK.mask);
/** Changes no bit that is not ours. */
const SET_MARK = `ct mark set ct mark and ${formatMark(~MARK.mask >>> 0)} or ${MARK_TEXT}`;

/** nft's name for the one counter that a trial's ruleset may have. */
export const ownCounter = ({ device }: Place): string => `${device}-own`;

/** A table of the trial's own, with a counter and one chain. nft 1.0.6 wants a newline behind every brace. */
const table = (family: string, place: Place, base: string, rules: readonly string[]): string =>
  [
    `table ${family} ${place.device} {`,
    `counter ${ownCounter(place)} {`,
    '}',
    'chain c {',
    `type filter ${base}; policy accept;`,
    ...rules,
    '}',
    '}\n',
  ].join('\n');

const ingress = (place: Place, rule: string): string =>
  table('netdev', place, `hook ingress device "${place.device}" priority 0`, [rule]);

const prerouting = (family: string, place: Place, rules: readonly string[], priority = '0'): string =>
  table(
    family,
    place,
    `hook prerouting priority ${priority}`,
    rules.map((rule) => `iifname "${place.device}" ${rule}`),
  );

const count = (place: Place): string => `counter name "${ownCounter(place)}"`;

/** Marks the trial's flows, behind conntrack. */
export const marksFlows = (place: Place): string => prerouting('inet', place, [`ct state new ${SET_MARK}`], 'mangle');

/** More than any of the rates here. */
const burst = (place: Place) => [{ by: 'peer', frames: new Array<string>(10).fill(request(place.ends, 900)) }] as const;

/** The first two come first: `nft inet` is what counts for others, `nft ct` makes the kernel track connections. */
export const NFT_TRIALS: readonly Trial[] = [
  {
    capability: 'nft inet',
    needs: [],
    nft: (place) => prerouting('inet', place, [count(place)]),
    counts: true,
    wrong: 'its chain saw no packet',
  },
  {
    capability: 'nft ct',
    needs: ['nft inet'],
    nft: (place) =>
      prerouting(
        'inet',
        place,
        [`ct state new ct direction original ${SET_MARK}`, `ct mark and ${MASK_TEXT} == ${MARK_TEXT} ${count(place)}`],
        'mangle',
      ),
    counts: true,
    wrong: 'an arriving packet got no conntrack entry, or that no mark',
  },
  {
    capability: 'nft netdev',
    needs: [],
    nft: (place) => ingress(place, count(place)),
    counts: true,
    wrong: 'its ingress chain saw no packet',
  },
  {
    capability: 'nft priority',
    needs: ['nft netdev', 'nft inet'],
    nft: (place) => ingress(place, 'meta priority set 7fe0:2'),
    arrives: ['meta priority 7fe0:2'],
    wrong: 'the packet came without its priority',
  },
  {
    capability: 'nft fwd',
    needs: ['nft netdev', 'device ifb'],
    nft: (place) => ingress(place, `fwd to "${place.ifb}"`),
    ifb: { least: 1 },
    wrong: 'no packet came to the ifb',
  },
  {
    capability: 'nft dup',
    needs: ['device ifb'],
    nft: (place) =>
      prerouting('ip', place, [`dup to 127.0.0.1 device "${place.ifb}"`]) +
      prerouting('ip6', place, [`dup to fe80::1 device "${place.ifb}"`]),
    ifb: { least: 1 },
    wrong: 'no copy came to the ifb',
  },
  {
    capability: 'nft limit',
    needs: ['nft inet'],
    nft: (place) =>
      prerouting('inet', place, [`limit rate over 100 bytes/second burst 1000 bytes ${count(place)} drop`]),
    rounds: burst,
    counts: true,
    wrong: 'it let everything pass',
  },
  {
    capability: 'nft log',
    needs: ['nft inet'],
    // That a listener gets the packet shows in probe-conntrack.ts.
    nft: (place) => prerouting('inet', place, [`log group ${LOG_GROUP}`]),
    wrong: '',
  },
];

/** A table that counts what comes to the stack by each trial's device, before connections are tracked. */
export function watchTable(attempts: readonly Attempt[]): string {
  const watched = attempts.flatMap(({ trial, place }) =>
    (trial.arrives ?? []).map((match, i) => ({ device: place.device, name: arrivalCounter(place, i), match })),
  );
  const ports = `udp dport { ${PORT_HERE}, ${PORT_THERE} }`;
  return [
    'table inet watch {',
    ...watched.map(({ name }) => `counter ${name} {\n}`),
    'chain c {',
    'type filter hook prerouting priority raw; policy accept;',
    ...watched.map(({ device, name, match }) => `iifname "${device}" ${ports} ${match} counter name "${name}"`),
    '}',
    '}\n',
  ].join('\n');
}

/** The counter of the watching table for a trial's `arrives[i]`. */
export const arrivalCounter = ({ device }: Place, i: number): string => `${device}-${i}`;
