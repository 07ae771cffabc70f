import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { HeadgateError } from '../model/index.ts';
import type { AccessLinkOptions } from './access-link.ts';
import { startHeadgate } from './headgate.ts';
import { ACCESS_LINK, ADDRESSES, Lab, TORRENT_PORT } from './lab.ts';
import { type PingResult, ping } from './ping.ts';
import type { Program } from './program.ts';
import { receivedMbit, Transfer } from './transfer.ts';

/** Strangers' connections to the torrent port, for each direction of data. */
export const REMOTE_FLOWS = 8;
/** What Headgate is told of the link, as a part of its true rate: the queue must be ours, not the ISP's. */
const SHAPED_PART = 0.9;
/** How long new connections have to find their rate before it is measured, in ms. */
const SETTLE_MS = 2500;
const WEB_PORT = 80;
/** Beyond settling and measuring, a phase takes this long: to begin and end its connections, and Headgate. */
const PHASE_MS = 1500;
/** What Headgate must reach to pass: this part of the link for the local download, and a ping this many times shorter. */
export const GOAL = { linkPart: 0.7, pingGain: 3 };
/** Rates are rounded to this, and none counts as less where gains are computed. */
const RATE_GRAIN = 0.01;

/** One treatment of the link under test. */
export interface Phase {
  readonly name: 'nothing' | 'one-queue' | 'headgate';
  /** The policy that Headgate runs with, as a path in the package; absent: no Headgate. */
  readonly policy?: string;
}

export const PHASES: readonly Phase[] = [
  { name: 'nothing' },
  { name: 'one-queue', policy: 'rules/one-queue.gate' },
  { name: 'headgate', policy: 'rules/favour-local.gate' },
];

/** How long the experiment takes, about, with steps that measure for `seconds`. */
export const experimentSeconds = (seconds: number): number =>
  PHASES.length * (3 * (SETTLE_MS / 1000 + seconds) + PHASE_MS / 1000);

/** What one phase was like. Rates are TCP payload in 10^6 bits per second. */
export interface PhaseResult {
  readonly name: Phase['name'];
  /** From the LAN host to the world while strangers load the link; null where nothing came back. */
  readonly pingMs: { readonly p50: number | null; readonly p95: number | null; readonly lossPct: number };
  /** One connection that the LAN host opened, receiving. */
  readonly localDownMbit: number;
  /** One connection that the LAN host opened, sending. */
  readonly localUpMbit: number;
  /** All that strangers send to the LAN host, during the local download. */
  readonly remoteDownMbit: number;
  /** All that strangers fetch from the LAN host, during the local upload. */
  readonly remoteUpMbit: number;
}

export interface Verdict {
  /** Local download with Headgate over that with nothing done. */
  readonly downGain: number;
  /** Median ping with nothing done over that with Headgate. */
  readonly pingGain: number;
  readonly pass: boolean;
}

export interface ExperimentResult {
  readonly kernel: string;
  readonly datapath: string;
  readonly link: AccessLinkOptions;
  readonly phases: readonly PhaseResult[];
  readonly verdict: Verdict;
}

export type Step = 'load' | 'ping' | 'download' | 'upload';

/** What goes on, for who watches: a step begins, or is done with a result to tell. */
export interface Progress {
  readonly phase: Phase['name'];
  readonly step: Step;
  readonly result?: string;
}

export interface ExperimentOptions {
  /** Of measuring, for each of the nine steps. */
  readonly seconds: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

/**
 * Builds the lab, measures every phase under the same load of strangers' connections, and takes the lab down again,
 * however it ends. Takes about {@link experimentSeconds}.
 *
 * @throws HeadgateError; the signal's reason where that was aborted.
 */
export async function runExperiment(options: ExperimentOptions): Promise<ExperimentResult> {
  const lab = await Lab.build({ ...ACCESS_LINK, nat: true });
  const bench = new Bench(lab, options);
  try {
    await bench.open();
    const phases: PhaseResult[] = [];
    for (const phase of PHASES) phases.push(await bench.measure(phase));
    return {
      kernel: release(),
      datapath: bench.datapath,
      link: ACCESS_LINK,
      phases,
      verdict: judge(phases, ACCESS_LINK),
    };
  } finally {
    await bench.close();
    await lab.close();
  }
}

/** Passes where the local download has 70 % of the link with Headgate, and the ping's median is a third or less. */
export function judge(phases: readonly PhaseResult[], link: AccessLinkOptions): Verdict {
  const find = (name: Phase['name']) => phases.find((phase) => phase.name === name)!;
  const before = find('nothing');
  const after = find('headgate');
  const downGain = after.localDownMbit / Math.max(before.localDownMbit, RATE_GRAIN);
  const pingGain = (before.pingMs.p50 ?? 0) / (after.pingMs.p50 ?? Number.POSITIVE_INFINITY);
  const pass = after.localDownMbit >= GOAL.linkPart * link.rateMbit && pingGain >= GOAL.pingGain;
  return { downGain: round(downGain, 2), pingGain: round(pingGain, 2), pass };
}

/** The hosts' applications, and what is measured with them. */
class Bench {
  datapath = 'none';
  private readonly servers: Transfer[] = [];
  private readonly lab: Lab;
  private readonly options: ExperimentOptions;

  constructor(lab: Lab, options: ExperimentOptions) {
    this.lab = lab;
    this.options = options;
  }

  async open(): Promise<void> {
    this.servers.push(await Transfer.serve(this.lab.world, ADDRESSES.world.v4, WEB_PORT));
    this.servers.push(await Transfer.serve(this.lab.lan, ADDRESSES.lan.v4, TORRENT_PORT));
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()));
  }

  async measure(phase: Phase): Promise<PhaseResult> {
    const step = async <T>(step: Step, work: () => Promise<T>, say: (result: T) => string): Promise<T> => {
      this.options.signal.throwIfAborted();
      this.options.onProgress({ phase: phase.name, step });
      const result = await work();
      this.options.onProgress({ phase: phase.name, step, result: say(result) });
      return result;
    };
    let headgate: Program | undefined;
    let strangers: Transfer[] = [];
    try {
      await step(
        'load',
        async () => {
          headgate = phase.policy === undefined ? undefined : await this.startHeadgate(phase.policy);
          strangers = await this.openStrangers();
          await this.wait(SETTLE_MS);
        },
        () => `${strangers.length * REMOTE_FLOWS} connections`,
      );
      const [seeding] = strangers as [Transfer];
      const [web, torrent] = this.servers as [Transfer, Transfer];
      const { seconds, signal } = this.options;
      const trips = await step('ping', () => ping(this.lab.lan, ADDRESSES.world.v4, seconds, signal), sayPing);
      const down = await step('download', () => this.against('fetch', web, torrent), sayRates);
      const up = await step('upload', () => this.against('push', web, seeding), sayRates);
      await headgate?.stop('SIGTERM');
      await headgate?.finish(); // else its end would pass for a result
      return {
        name: phase.name,
        pingMs: { p50: trips.p50 ?? null, p95: trips.p95 ?? null, lossPct: round(trips.lossPct, 1) },
        localDownMbit: down.local,
        localUpMbit: up.local,
        remoteDownMbit: down.remote,
        remoteUpMbit: up.remote,
      };
    } finally {
      await Promise.all([headgate?.stop('SIGTERM'), ...strangers.map((transfer) => transfer.stop())]);
    }
  }

  private async startHeadgate(policy: string): Promise<Program> {
    const shaped = ACCESS_LINK.rateMbit * SHAPED_PART;
    const { program, datapath } = await startHeadgate(this.lab.box, policy, shaped);
    this.datapath = datapath;
    return program;
  }

  /** Those that fetch from the LAN host, and those that send to it. */
  private openStrangers(): Promise<Transfer[]> {
    const open = (wish: 'fetch' | 'push') =>
      Transfer.open(this.lab.world, wish, ADDRESSES.box.v4, TORRENT_PORT, REMOTE_FLOWS);
    return Promise.all([open('fetch'), open('push')]);
  }

  /** A local connection's rate, and that of the strangers whose data arrives at `rival` meanwhile. */
  private async against(wish: 'fetch' | 'push', web: Transfer, rival: Transfer): Promise<Rates> {
    const local = await Transfer.open(this.lab.lan, wish, ADDRESSES.world.v4, WEB_PORT, 1);
    try {
      await this.wait(SETTLE_MS);
      const sink = wish === 'fetch' ? local : web;
      const [sinkBefore, rivalBefore] = await Promise.all([sink.sample(), rival.sample()]);
      await this.wait(this.options.seconds * 1000);
      const [sinkAfter, rivalAfter] = await Promise.all([sink.sample(), rival.sample()]);
      if (rivalAfter.connections.length < REMOTE_FLOWS)
        throw new HeadgateError('HG_LAB', {
          problem: `only ${rivalAfter.connections.length} of ${REMOTE_FLOWS} connections of strangers are left`,
        });
      return {
        local: round(receivedMbit(sinkBefore, sinkAfter), 2),
        remote: round(receivedMbit(rivalBefore, rivalAfter), 2),
      };
    } finally {
      await local.stop();
    }
  }

  private wait(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.options.signal });
  }
}

interface Rates {
  readonly local: number;
  readonly remote: number;
}

const sayPing = ({ p50, p95, lossPct }: PingResult) =>
  p50 === undefined ? 'nothing came back' : `median ${p50} ms, 95 % within ${p95} ms, ${round(lossPct, 1)} % lost`;
const sayRates = ({ local, remote }: Rates) => `${local.toFixed(1)} mbit, strangers ${remote.toFixed(1)}`;

const round = (value: number, digits: number): number => Number(value.toFixed(digits));
