import { lastValueFrom, type Observable, tap } from 'rxjs';
import { MarkBatch } from '../kernel/index.ts';
import { type MarkField, ownBits } from '../model/index.ts';
import type { FlowNews } from './classifier.ts';

/** Takes our bits off every conntrack entry that has any, so that no trace of us is left. */
export async function clearMarks(
  field: MarkField,
  dump: Observable<Iterable<FlowNews>>,
  write: (requests: MarkBatch) => unknown,
): Promise<void> {
  const requests = new MarkBatch();
  const bits = ownBits(field);
  const clearing = dump.pipe(
    tap((batch) => {
      for (const record of batch)
        if (record.kind === 'dumped' && (record.mark & bits) !== 0) requests.add(record.words, record.word, 0, bits);
      write(requests);
      requests.clear();
    }),
  );
  await lastValueFrom(clearing, { defaultValue: undefined });
}
