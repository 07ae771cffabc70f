import {
  asyncScheduler,
  auditTime,
  defer,
  EMPTY,
  exhaustMap,
  ignoreElements,
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

export interface PipelineOptions {
  /** Conntrack events, NEW and DESTROY. */
  readonly events: Observable<Iterable<FlowNews>>;
  /** Dumps the kernel's table on a socket of its own. */
  readonly dump: () => Observable<Iterable<FlowNews>>;
  readonly classifier: FlowClassifier;
  readonly emit: (event: OverrunEvent | ResyncEvent) => void;
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Keeps the flow table equal to the kernel's, and has each flow decided: first by a dump of what is there, then by
 * events; after an overrun by a dump again. Loss is emitted as an event and never ends the Observable, which itself
 * emits nothing; it errors where a socket cannot be opened. Subscribing starts it, unsubscribing closes everything.
 */
export function runPipeline({
  events,
  dump,
  classifier,
  emit,
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

    const resync = defer(() => {
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
            emit({ kind: 'resync', flows: classifier.table.size, added, removed: gone.length, complete });
          },
        }),
      );
    });

    // One dump at a time; events that were lost while it ran make another one after it.
    const resyncing = merge(of(undefined), overruns.pipe(auditTime(RESYNC_DELAY_MS, scheduler))).pipe(
      exhaustMap(() => resync.pipe(repeat({ delay: () => (stale ? timer(RESYNC_DELAY_MS, scheduler) : EMPTY) }))),
    );
    return merge(following, resyncing).pipe(ignoreElements());
  });
}
