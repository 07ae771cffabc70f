import {
  asyncScheduler,
  auditTime,
  concatWith,
  defer,
  EMPTY,
  exhaustMap,
  filter,
  finalize,
  ignoreElements,
  interval,
  map,
  merge,
  type Observable,
  of,
  repeat,
  type SchedulerLike,
  Subject,
  startWith,
  switchMap,
  take,
  tap,
  timer,
} from 'rxjs';
import type { ConntrackGroup } from '../kernel/sources.ts';
import type { OverrunEvent, ResyncEvent } from '../monitor/index.ts';
import type { FlowClassifier, FlowNews } from './classifier.ts';
import { clockOf } from './even-clock.ts';

/** Wait after an overrun before the table is read anew: a storm reports many. It doubles while more is lost, up to {@link MOST_RESYNC_DELAY_MS}. */
export const RESYNC_DELAY_MS = 200;
export const MOST_RESYNC_DELAY_MS = 5000;

/** How often the table is read anew while it holds flows of whose end no event tells (FlowStart.silent). */
export const SWEEP_MS = 60_000;

/** How long flows that are to be decided anew, and are not by some event, wait for others. */
export const TICK_MS = 100;
/** The clock is looked at after so long in any case while there are rules by time: somebody may have set that of the wall. */
const LONGEST_SLEEP_MS = 60_000;

/** Pause between two readings of the watched flows' counters; where a reading takes long, three times as long as that. */
export const READ_MS = 400;

/** What the rules in force, and whoever listens, need of the kernel. */
export interface Demand {
  /** None: nothing is followed, and the table is empty; what is there is looked at once, so that the marks are right. */
  readonly groups: readonly ConntrackGroup[];
  /** Counters of watched flows. */
  readonly counters: boolean;
  /** Something changes by time alone. */
  readonly ticks: boolean;
  /** Links in force, by device: with others, flows have other origins. */
  readonly links: readonly string[];
}

export interface PipelineOptions {
  /** With each value the kernel's table is read anew. What is known of flows stays, where they are followed on, by the same links. */
  readonly demand: Observable<Demand>;
  /** Follows conntrack events. */
  readonly events: (groups: readonly ConntrackGroup[]) => Observable<Iterable<FlowNews>>;
  /** Dumps the kernel's table on a socket of its own. */
  readonly dump: () => Observable<Iterable<FlowNews>>;
  /** The same of watched flows alone. */
  readonly read: () => Observable<Iterable<FlowNews>>;
  readonly classifier: FlowClassifier;
  readonly emit: (event: OverrunEvent | ResyncEvent) => void;
  /** Hears of each batch with new flows, when they are decided: how many, and how long ago the first was received, ms. */
  readonly took?: ((flows: number, ms: number) => void) | undefined;
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Keeps the flow table equal to the kernel's, and has each flow decided, as far as anybody needs that: first by a dump of
 * what is there, then by events; after an overrun by a dump again, and now and then for flows whose end no event tells.
 * Loss is emitted as an event and never ends the Observable, which itself emits nothing; it errors where a socket cannot
 * be opened. Subscribing starts it, unsubscribing closes everything.
 */
export function runPipeline(options: PipelineOptions): Observable<never> {
  const { demand, classifier } = options;
  return defer(() => {
    /** By which links the flow table is the kernel's; undefined: it is not, or not yet. */
    let known: string | undefined;
    return demand.pipe(
      switchMap((wanted) => {
        const followed = wanted.groups.length > 0;
        const links = String(wanted.links);
        if (followed && links === known) return follow(wanted, options, 'sweep');
        known = undefined;
        classifier.clear();
        return followed ? follow(wanted, options, 'start', () => (known = links)) : lookOnce(options);
      }),
      ignoreElements(),
    );
  });
}

/** Has what is there marked as the policy says, and forgets it. */
function lookOnce({ dump, classifier, emit, scheduler = asyncScheduler }: PipelineOptions): Observable<unknown> {
  return resync('start', dump, classifier, emit, scheduler).pipe(
    finalize(() => {
      classifier.clear();
      classifier.flush();
    }),
  );
}

/** @param whole is called when a dump was complete */
function follow(
  wanted: Demand,
  { events, dump, read, classifier, emit, took, scheduler = asyncScheduler }: PipelineOptions,
  first: 'start' | 'sweep',
  whole: () => void = () => {},
): Observable<unknown> {
  return defer(() => {
    const overruns = new Subject<void>();
    /** Set when events were lost since the last dump began: then it has to be done again. */
    let stale = false;

    const following = events(wanted.groups).pipe(
      tap((batch) => {
        classifier.live.setTime();
        let fresh = 0;
        let received = 0;
        for (const record of batch) {
          if (record.kind === 'new') {
            if (fresh++ === 0) received = record.time;
            classifier.see(record, 'event');
          } else if (record.kind === 'update') classifier.update(record);
          else if (record.kind === 'destroy') classifier.end(record);
          else if (record.kind === 'overrun') {
            emit({ kind: 'overrun', count: record.count });
            stale = true;
            overruns.next();
          }
        }
        classifier.settle();
        if (fresh > 0) took?.(fresh, Date.now() - received);
      }),
    );

    const reasons = merge(
      of(first),
      overruns.pipe(
        auditTime(RESYNC_DELAY_MS, scheduler),
        map(() => 'overrun' as const),
      ),
      interval(SWEEP_MS, scheduler).pipe(
        filter(() => classifier.table.silent > 0),
        map(() => 'sweep' as const),
      ),
    );
    // One dump at a time; events that were lost while it ran make another one after it.
    const resyncing = reasons.pipe(
      exhaustMap((reason) =>
        defer(() => {
          stale = false;
          return resync(reason, dump, classifier, emit, scheduler);
        }).pipe(
          tap((complete) => {
            stale ||= !complete;
            if (complete) whole();
          }),
          repeat({
            delay: (times) =>
              stale ? timer(Math.min(RESYNC_DELAY_MS * 2 ** (times - 1), MOST_RESYNC_DELAY_MS), scheduler) : EMPTY,
          }),
        ),
      ),
    );

    const ticking = wanted.ticks ? lookWhenDue(classifier, scheduler) : EMPTY;
    const reading = wanted.counters ? readAgain(read, classifier, scheduler) : EMPTY;
    return merge(following, resyncing, ticking, reading);
  });
}

/** Looks at the clock when something is due by it, or flows wait, and has those decided; in between it sleeps. */
function lookWhenDue(classifier: FlowClassifier, scheduler: SchedulerLike): Observable<never> {
  const { live } = classifier;
  return defer(() => {
    const { due } = live;
    const wait = due === Number.NEGATIVE_INFINITY ? TICK_MS : Math.min(live.until(due), LONGEST_SLEEP_MS);
    const awake = timer(Math.max(0, wait), scheduler).pipe(map(() => true));
    const sooner = live.stirred.pipe(
      filter(() => live.due < due),
      map(() => false),
    );
    return merge(awake, sooner).pipe(
      take(1),
      switchMap((looks) => {
        if (!looks) return EMPTY;
        live.setTime();
        return inTurns(classifier.settling(), scheduler);
      }),
    );
  }).pipe(repeat());
}

/** Acts until there is no more to do, and lets others have their turn in between: there may be a million. Emits nothing. */
function inTurns(act: () => boolean, scheduler: SchedulerLike): Observable<never> {
  let more = false;
  return defer(() => {
    more = act();
    return EMPTY;
  }).pipe(repeat({ delay: () => (more ? timer(0, scheduler) : EMPTY) }));
}

/** Reads the table once. Emits whether the dump was complete: then the table has what the kernel's has, and no more. */
function resync(
  reason: ResyncEvent['reason'],
  dump: PipelineOptions['dump'],
  classifier: FlowClassifier,
  emit: PipelineOptions['emit'],
  scheduler: SchedulerLike,
): Observable<boolean> {
  return defer(() => {
    let [added, removed] = [0, 0];
    let [whole, complete] = [false, false];
    classifier.table.beginDump();
    classifier.live.setTime();
    return dump().pipe(
      tap((batch) => {
        for (const record of batch) {
          if (record.kind === 'dumped')
            added += Number(classifier.see(record, reason === 'start' ? 'start' : 'resync'));
          else if (record.kind === 'dumpEnd') whole = !record.interrupted;
        }
        classifier.settle();
      }),
      ignoreElements(),
      concatWith(
        defer(() => {
          complete = classifier.table.endDump(whole);
          if (reason === 'start' && complete) classifier.leave();
          return EMPTY;
        }),
        inTurns(() => {
          removed += classifier.sweep();
          return classifier.table.isSweeping;
        }, scheduler),
        defer(() => {
          const quiet = reason === 'sweep' && complete && added + removed === 0;
          if (!quiet) emit({ kind: 'resync', reason, flows: classifier.table.size, added, removed, complete });
          return of(complete);
        }),
      ),
    );
  });
}

/** Reads the watched flows' counters, again and again, while there are any. */
function readAgain(
  read: PipelineOptions['read'],
  classifier: FlowClassifier,
  scheduler: SchedulerLike,
): Observable<unknown> {
  const { live } = classifier;
  const now = clockOf(scheduler);
  let began = 0;
  return defer(() => {
    began = now();
    return live.counted === 0 ? EMPTY : read();
  }).pipe(
    tap((batch) => {
      live.setTime();
      for (const record of batch)
        if (record.kind === 'dumped') classifier.read(record);
        else if (record.kind === 'dumpEnd' && !record.interrupted) classifier.endReading();
      classifier.settle();
    }),
    repeat({
      delay: () => {
        const wait = Math.max(READ_MS, 3 * (now() - began));
        return live.stirred.pipe(
          startWith(undefined),
          filter(() => live.counted > 0),
          take(1),
          switchMap(() => timer(wait, scheduler)),
        );
      },
    }),
  );
}
