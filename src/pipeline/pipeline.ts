import {
  asyncScheduler,
  auditTime,
  defer,
  EMPTY,
  exhaustMap,
  filter,
  ignoreElements,
  interval,
  map,
  merge,
  type Observable,
  of,
  repeat,
  type SchedulerLike,
  Subject,
  tap,
  timer,
} from 'rxjs';
import type { OverrunEvent, ResyncEvent } from '../monitor/index.ts';
import type { FlowClassifier, FlowNews } from './classifier.ts';

/** Wait after an overrun before the table is read anew: a storm reports many. */
export const RESYNC_DELAY_MS = 200;

/** How often the table is read anew while it holds flows of whose end no event tells (Flow.silent). */
export const SWEEP_MS = 60_000;

export interface PipelineOptions {
  /** Conntrack events, NEW and DESTROY. */
  readonly events: Observable<Iterable<FlowNews>>;
  /** Dumps the kernel's table on a socket of its own. */
  readonly dump: () => Observable<Iterable<FlowNews>>;
  readonly classifier: FlowClassifier;
  readonly emit: (event: OverrunEvent | ResyncEvent) => void;
  /** Each item has the table read anew: there are other links, and flows over them. */
  readonly otherLinks?: Observable<unknown> | undefined;
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Keeps the flow table equal to the kernel's, and has each flow decided: first by a dump of what is there, then by
 * events; after an overrun by a dump again, and now and then for flows whose end no event tells. Loss is emitted as an event and never ends the Observable, which itself
 * emits nothing; it errors where a socket cannot be opened. Subscribing starts it, unsubscribing closes everything.
 */
export function runPipeline({
  events,
  dump,
  classifier,
  emit,
  otherLinks = EMPTY,
  scheduler = asyncScheduler,
}: PipelineOptions): Observable<never> {
  return defer(() => {
    const overruns = new Subject<void>();
    /** Set when events were lost since the last dump began: then it has to be done again. */
    let stale = false;

    const following = events.pipe(
      tap((batch) => {
        for (const record of batch) {
          if (record.kind === 'new') classifier.see(record, 'flow.new');
          else if (record.kind === 'destroy') classifier.end(record);
          else if (record.kind === 'overrun') {
            emit({ kind: 'overrun', count: record.count });
            stale = true;
            overruns.next();
          }
        }
        classifier.flush();
      }),
    );

    const resync = (reason: ResyncEvent['reason']) =>
      defer(() => {
        stale = false;
        let added = 0;
        let complete = false;
        classifier.table.beginDump();
        return dump().pipe(
          tap({
            next: (batch) => {
              for (const record of batch) {
                if (record.kind === 'dumped') added += Number(classifier.see(record, 'flow.known'));
                else if (record.kind === 'dumpEnd') complete = !record.interrupted;
              }
              classifier.flush();
            },
            complete: () => {
              const gone = classifier.table.endDump(complete);
              classifier.ended(gone);
              const quiet = reason === 'sweep' && complete && added + gone.length === 0;
              if (!quiet)
                emit({ kind: 'resync', reason, flows: classifier.table.size, added, removed: gone.length, complete });
            },
          }),
        );
      });

    const sweeps = interval(SWEEP_MS, scheduler).pipe(filter(() => classifier.table.silent > 0));
    const reasons = merge(
      of('start' as const),
      overruns.pipe(
        auditTime(RESYNC_DELAY_MS, scheduler),
        map(() => 'overrun' as const),
      ),
      sweeps.pipe(map(() => 'sweep' as const)),
      otherLinks.pipe(
        // Where a dump is under way already, what it has read was read with the links of before.
        tap(() => (stale = true)),
        map(() => 'links' as const),
      ),
    );
    // One dump at a time; events that were lost while it ran make another one after it.
    const resyncing = reasons.pipe(
      exhaustMap((reason) =>
        resync(reason).pipe(repeat({ delay: () => (stale ? timer(RESYNC_DELAY_MS, scheduler) : EMPTY) })),
      ),
    );
    return merge(following, resyncing).pipe(ignoreElements());
  });
}
