import { setImmediate } from 'node:timers/promises';
import {
  explainFlow,
  formatDuration,
  formatExplanation,
  formatFinding,
  type PlainExplanation,
  type Policy,
  parseFlow,
  plainExplanation,
} from '../language/index.ts';
import { type End, type FlowFacts, HeadgateError, parseEnd, sameAddress } from '../model/index.ts';
import { type FlowClassifier, type FlowView, type Reading, readingOf } from '../pipeline/index.ts';
import { classOf, DOWNLOAD_MAJOR, formatHandle, UPLOAD_MAJOR } from '../shape/index.ts';
import { factsOf } from './flow-facts.ts';
import { MOST_IN_ONE_GO } from './list-flows.ts';

/** Flows that are explained; a flow that was written without its ports may be many. */
export const MOST_EXPLAINED = 20;

/** What is asked of all flows alike. */
export interface Asked extends Pick<LiveExplanation, 'filters'> {
  readonly policy: Policy;
}

type Classified = Pick<FlowClassifier, 'decisionOf' | 'table' | 'live'>;

/** A flow of the running service: what is known of it, what became of it, and why. */
export interface LiveExplanation extends PlainExplanation {
  /** The queue's classes, arriving and leaving: `7fe0:2`, `7fe1:2`. */
  readonly classes: readonly [string, string];
  /** Class number in our bits of its conntrack mark; 0: it goes by its origin. */
  readonly mark: number;
  readonly zone: number;
  /** Ms since it began; absent: it was there before anybody looked. */
  readonly age?: number | undefined;
  /** Ms since this rule, or default, has it, or since it was first looked at. */
  readonly decided: number;
  /** What looks at its packets and gives them their class, as `tc filter show` and `nft list chain` have them. */
  readonly filters: readonly string[];
  /** All of it for a person. */
  readonly text: string;
}

/** Whether a flow is meant. */
export type IsMeant = (flow: FlowView) => boolean;

/**
 * The flows that are meant by `text`: protocol, opener and answerer as `expect` writes them, ports left out or
 * not, either end first, NAT undone or as the opener's packets carry them.
 *
 * @throws HeadgateError HG_USAGE where it is no flow
 */
export function meantByFlow(text: string, policy: Policy): IsMeant {
  // `expect` asks for the origin; here it is what is asked. And its arrow may be as `events` and `flows` print it.
  const flow = text.replace(/\s<[->]\s/, ' -> ');
  const { facts: wanted, diagnostics } = parseFlow(
    /\borigin\b/.test(flow) ? flow : `${flow} origin new`,
    '--live',
    policy,
  );
  if (!wanted) {
    const [first] = diagnostics;
    throw new HeadgateError('HG_USAGE', {
      problem: `--live ${text}: ${first && formatFinding(first)}`,
      command: 'explain',
    });
  }
  return (flow) => isMeant(wanted, flow);
}

/**
 * The flows of which one end is meant by `text`, as it is on its side, or as the opener's packets carry it:
 * `10.0.0.5:443`, `[2001:db8::1]:443`, or an address alone.
 *
 * @throws HeadgateError HG_USAGE where it is no end
 */
export function meantByEnd(text: string): IsMeant {
  const wanted = parseEnd(text);
  if (!wanted) throw new HeadgateError('HG_USAGE', { problem: `${text}: write ADDRESS:PORT`, command: 'why' });
  return (flow) => {
    if (isEnd(wanted, flow.local) || isEnd(wanted, flow.remote)) return true;
    const { source, sourcePort, destination, destinationPort } = flow.tuple('original');
    return (
      isEnd(wanted, { address: source, port: sourcePort }) ||
      isEnd(wanted, { address: destination, port: destinationPort })
    );
  };
}

/** Flows that are explained. */
export interface LiveExplanations {
  /** Those that are meant. */
  readonly matched: number;
  /** The first {@link MOST_EXPLAINED} of those. */
  readonly flows: readonly LiveExplanation[];
}

/** Explains the flows that are meant by `text`, with what `readings` have of their counters. @throws HeadgateError HG_NO_FLOW */
export async function explainThose(
  text: string,
  isOne: IsMeant,
  asked: Asked,
  flows: Iterable<FlowView>,
  classifier: Classified,
  readings: ReadonlyMap<number, Reading>,
): Promise<LiveExplanations> {
  const found: LiveExplanation[] = [];
  let [matched, looked] = [0, 0];
  for (const flow of flows) {
    if (isOne(flow) && ++matched <= MOST_EXPLAINED)
      found.push(explainOne(flow, asked, classifier, readingOf(readings, classifier.table, flow.row)));
    // Others have their turn.
    if (++looked % MOST_IN_ONE_GO === 0) await setImmediate();
  }
  if (matched === 0) throw new HeadgateError('HG_NO_FLOW', { flow: text });
  return { matched, flows: found };
}

function explainOne(
  flow: FlowView,
  { policy, filters }: Asked,
  classifier: Classified,
  reading: Reading | undefined,
): LiveExplanation {
  const { row, origin, protocol, zone, age } = flow;
  const current = classifier.decisionOf(row).rule;
  const mark = classifier.table.classOf(row);
  const decided = Math.max(0, Math.round(classifier.live.now - classifier.table.decidedOf(row)));
  const [local, remote] = [flow.local, flow.remote].map(({ address, port }) => ({ address, port })) as [End, End];
  // What the pipeline has read, it was decided by.
  const explanation = explainFlow(policy, factsOf(flow, flow.bytes ? undefined : reading), current);
  const number = classOf(policy, explanation.decision.queue);
  const classes = [formatHandle(DOWNLOAD_MAJOR, number), formatHandle(UPLOAD_MAJOR, number)] as const;
  const began = age === undefined ? 'it was there before anybody looked' : `it began ${inShort(age)} ago`;
  const place = `class ${classes[0]} arriving, ${classes[1]} leaving; ${mark === 0 ? 'no class in its mark: it goes by its origin' : `class ${mark} in its mark`}`;
  return {
    // What the pipeline keeps of a flow beside is no fact of it.
    ...plainExplanation({ ...explanation, facts: { origin, protocol, local, remote } }),
    ...{ classes, mark, zone, decided, filters },
    ...(age !== undefined && { age: Math.round(age) }),
    text: [
      formatExplanation(explanation),
      place,
      ...filters,
      `${began}; decided so ${decided === 0 ? 'just now' : `${inShort(decided)} ago`}`,
    ].join('\n'),
  };
}

/** In whole seconds, where it is some. */
const inShort = (ms: number): string => formatDuration(ms < 10_000 ? Math.round(ms) : Math.round(ms / 1000) * 1000);

function isMeant({ protocol, local, remote }: FlowFacts, flow: FlowView): boolean {
  if (flow.protocol !== protocol) return false;
  const { source, sourcePort, destination, destinationPort } = flow.tuple('original');
  const opener = { address: source, port: sourcePort };
  const answerer = { address: destination, port: destinationPort };
  return [
    [flow.local, flow.remote],
    [flow.remote, flow.local],
    [opener, answerer],
  ].some(([one, other]) => isEnd(local, one!) && isEnd(remote, other!));
}

const isEnd = (wanted: End, { address, port }: End): boolean =>
  sameAddress(wanted.address, address) && (wanted.port === undefined || wanted.port === port);
