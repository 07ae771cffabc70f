import type { Observable } from 'rxjs';
import type { AskedFact } from '../language/index.ts';
import type { FlowFacts, Tuple } from '../model/index.ts';

/** What conntrack does not tell of a flow, and something else has to find out. */
export type SuppliedFact = AskedFact;
export type SuppliedFacts = Partial<Pick<FlowFacts, SuppliedFact>>;

/** A flow as a source is asked about it: one object from the question to the flow's end, so that it can be a key. */
export interface AskedFlow extends Pick<FlowFacts, 'origin' | 'protocol' | 'local' | 'remote'> {
  readonly zone: number;
  readonly original: Tuple;
  /** The answers' direction, after translation: what arrives of a flow that this side opened. */
  readonly reply: Tuple;
}

/** What a source knows of a flow by now, in place of all that it said before. */
export interface FactAnswer {
  readonly flow: AskedFlow;
  readonly facts: SuppliedFacts;
}

/**
 * Finds out facts of flows for the pipeline, in its own time: names by DNS answers, the local socket, a detector.
 *
 * It is opened (`answers` subscribed to) while the policy in force has a rule that looks at one of its facts, and asked
 * once for each flow that such a rule could take. An answer may come at once, later, never, or again when something
 * has changed: with each the flow is decided anew. Until the first, its facts are not known, and what compares with them is false.
 */
export interface FactSource {
  readonly supplies: readonly SuppliedFact[];
  /** It is told of every flow that crosses a link, whichever a rule could take: a detector looks at the company, too. */
  readonly everyFlow?: boolean | undefined;
  /** Opens the source; unsubscribing closes it, and it forgets all flows. An error is said as a warning, and it is opened again. */
  readonly answers: Observable<FactAnswer>;
  /** Asks about a flow. Only while `answers` is subscribed to. */
  ask(flow: AskedFlow): void;
  /** The flow that was asked about has ended: forget it. */
  end(flow: AskedFlow): void;
}
